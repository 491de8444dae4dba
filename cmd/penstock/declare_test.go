package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"penstock/supervisor"
)

// put writes a file all at once, as editors and tools do.
func put(t *testing.T, path, text string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(t, os.WriteFile(path+".new~", []byte(text), 0o600))
	require.NoError(t, os.Rename(path+".new~", path))
}

// defines is what declarations define, by id: the texts of the streams' files,
// and the paths of the resources'.
func defines(d supervisor.Declarations) map[string]string {
	found := map[string]string{}
	for _, s := range d.Streams {
		found[s.ID] = string(s.Text)
	}
	for _, r := range d.Resources {
		found[r.Type+"/"+r.ID] = r.Path
	}
	return found
}

func TestDeclarationsAreRead(t *testing.T) {
	t.Chdir(t.TempDir())
	put(t, "streams/a.yaml", "input: {}\n")
	put(t, "r/one.yaml", "cache_resources:\n  - {label: c, memory: {}}\n  - {label: d, memory: {}}\n")
	put(t, "r/two.yaml", "rate_limit_resources:\n  - {label: l, local: {}}\n")
	declared, failures := source{args: []string{"streams"}, resources: []string{"r/*.yaml"}, chilled: true}.read(zap.NewNop())
	require.Empty(t, failures)
	assert.True(t, declared.Chilled)
	assert.Equal(t, map[string]string{
		"a": "input: {}\n", "cache/c": "r/one.yaml", "cache/d": "r/one.yaml", "rate_limit/l": "r/two.yaml",
	}, defines(declared))
	require.Len(t, declared.Streams, 1)
	assert.Equal(t, filepath.Join("streams", "a.yaml"), declared.Streams[0].Path)
	assert.Equal(t, map[string]any{"input": map[string]any{}}, declared.Streams[0].Document.Value())
	require.Len(t, declared.Resources, 3)
	assert.Equal(t, map[string]any{"label": "c", "memory": map[string]any{}}, declared.Resources[0].Document.Value())
}

func TestEveryFailureIsNamed(t *testing.T) {
	t.Chdir(t.TempDir())
	put(t, "s/good.yaml", "input: {}\n")
	put(t, "s/bad.yaml", "input: [")
	put(t, "s/empty.yaml", "\n# input: {}\n")
	put(t, "s/object.yaml", "{}")
	put(t, "r/good.yaml", "cache_resources: [{label: c, memory: {}}]\n")
	put(t, "r/twice.yaml", "cache_resources: [{label: c, memory: {}}]\n")
	put(t, "r/odd.yaml", "caches: []\n")
	require.NoError(t, os.Symlink("absent", "s/dangling.yaml"))
	declared, failures := source{
		args: []string{"s", "absent.yaml"}, resources: []string{"r/*.yaml", "absent-too.yaml", "[.yaml"},
	}.read(zap.NewNop())
	assert.Equal(t, map[string]string{"good": "input: {}\n", "object": "{}"}, defines(declared), "the rest is there")
	err := joined(failures)
	for _, want := range []string{
		"s/bad.yaml: yaml: line 1", "s/empty.yaml: the file is empty: ", "s/dangling.yaml: open", "stat absent.yaml", "open absent-too.yaml",
		`resource label "c" is given twice, by r/good.yaml and by r/twice.yaml: rename one`,
		`r/odd.yaml: line 1, column 1: unknown key "caches"`, `cannot expand the glob "[.yaml"`,
	} {
		assert.ErrorContains(t, err, want)
	}
	assert.Len(t, failures, 8)
}

func TestWhatCannotBeReadIsKept(t *testing.T) {
	t.Chdir(t.TempDir())
	before := supervisor.Declarations{
		Streams: []supervisor.StreamFile{
			{ID: "a", Path: "s/a.yaml", Text: []byte("old")}, {ID: "in_b", Path: "s/in/b.yaml", Text: []byte("old")},
			{ID: "c", Path: "s/c.yaml", Text: []byte("old")}, {ID: "twice", Path: "s/twice.yaml", Text: []byte("old")},
			{ID: "gone", Path: "s/gone.yaml", Text: []byte("old")}, {ID: "moved", Path: "s/in/moved.yaml", Text: []byte("old")},
		},
		Resources: []supervisor.ResourceFile{
			{Type: "cache", ID: "r", Path: "r.yaml"}, {Type: "cache", ID: "twice", Path: "q.yaml"},
		},
	}
	now := supervisor.Declarations{Streams: []supervisor.StreamFile{
		{ID: "c", Path: "s/c.yaml", Text: []byte("new")}, {ID: "moved", Path: "s/moved.yaml", Text: []byte("new")},
	}}
	got := keep(now, before, []failure{
		{path: "s/a.yaml"}, {path: "s/in"}, {key: streamKey("twice")}, {path: "r.yaml"}, {path: "s/ind"}, {key: resourceKey("gone")},
	})
	assert.Equal(t, map[string]string{
		"a": "old", "in_b": "old", "twice": "old", "c": "new", "moved": "new", "cache/r": "r.yaml",
	}, defines(got))

	// The working folder holds everything that is below it.
	assert.Len(t, keep(supervisor.Declarations{}, before, []failure{{path: "."}}).Streams, len(before.Streams))
}
