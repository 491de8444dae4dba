package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

// inTree makes the files in a folder of their own and goes there.
func inTree(t *testing.T, paths ...string) {
	t.Helper()
	t.Chdir(t.TempDir())
	for _, path := range paths {
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, nil, 0o644))
	}
}

func TestFindStreams(t *testing.T) {
	inTree(t,
		"streams/foo.yaml", "streams/bar.yml", "streams/dir/foo.yaml", "streams/dir/sub/baz.yaml",
		"streams/foo_benthos_test.yaml", "streams/dir/x_benthos_test.yml",
		"streams/readme.md", "streams/.hidden.yaml", "streams/..2026/foo.yaml",
		"other/[odd].yaml", "other/plain.json", "other/both.yml.yaml", "other/foo_benthos_test.yaml",
	)
	require.NoError(t, os.Symlink("streams", "linked"))
	require.NoError(t, os.Symlink("../streams/dir/sub/baz.yaml", "other/link.yaml"))

	for _, test := range []struct {
		name string
		args []string
		want []streamFile
	}{
		{"none", nil, nil},
		{"file", []string{"streams/dir/foo.yaml"}, []streamFile{{"foo", "streams/dir/foo.yaml"}}},
		{"file of another extension", []string{"other/plain.json"}, []streamFile{{"plain.json", "other/plain.json"}}},
		{"both extensions", []string{"other/both.yml.yaml"}, []streamFile{{"both", "other/both.yml.yaml"}}},
		{"test file by name", []string{"other/foo_benthos_test.yaml"}, []streamFile{{"foo_benthos_test", "other/foo_benthos_test.yaml"}}},
		{"symbolic link to a file", []string{"other/link.yaml"}, []streamFile{{"link", "other/link.yaml"}}},
		{"folder", []string{"streams/"}, []streamFile{
			{"bar", "streams/bar.yml"}, {"dir_foo", "streams/dir/foo.yaml"},
			{"dir_sub_baz", "streams/dir/sub/baz.yaml"}, {"foo", "streams/foo.yaml"},
		}},
		{"symbolic link to a folder", []string{"linked"}, []streamFile{
			{"bar", "linked/bar.yml"}, {"dir_foo", "linked/dir/foo.yaml"},
			{"dir_sub_baz", "linked/dir/sub/baz.yaml"}, {"foo", "linked/foo.yaml"},
		}},
		{"glob of files", []string{"streams/*.yml"}, []streamFile{{"bar", "streams/bar.yml"}}},
		{"glob of folders", []string{"streams/d*"}, []streamFile{
			{"foo", "streams/dir/foo.yaml"}, {"sub_baz", "streams/dir/sub/baz.yaml"},
		}},
		{"glob of any depth", []string{"streams/**/baz.yaml"}, []streamFile{{"baz", "streams/dir/sub/baz.yaml"}}},
		{"name with magic characters", []string{"other/[odd].yaml"}, []streamFile{{"[odd]", "other/[odd].yaml"}}},
		{"same file twice", []string{"streams/foo.yaml", "./streams/foo.yaml", "streams"}, []streamFile{
			{"foo", "streams/foo.yaml"}, {"bar", "streams/bar.yml"},
			{"dir_foo", "streams/dir/foo.yaml"}, {"dir_sub_baz", "streams/dir/sub/baz.yaml"},
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, failures := findStreams(test.args, zap.NewNop())
			require.Empty(t, failures)
			assert.Equal(t, test.want, got)
		})
	}
}

func TestFindStreamsRefuses(t *testing.T) {
	inTree(t, "a/b.yaml", "a_b.yaml", "x/b.yaml")
	require.NoError(t, os.Symlink("absent.yaml", "dangling.yaml"))

	for _, test := range []struct {
		name string
		args []string
		want string
	}{
		{"collision of files", []string{"a/b.yaml", "x/b.yaml"}, `stream id "b" is given twice, by a/b.yaml and by x/b.yaml: rename one`},
		{"collision in a folder", []string{"."}, `stream id "a_b" is given twice, by a/b.yaml and by a_b.yaml: rename one`},
		{"absent", []string{"absent.yaml"}, "cannot read the streams of an argument: stat absent.yaml: no such file or directory"},
		{"dangling link", []string{"dangling.yaml"}, "cannot read the streams of an argument: stat dangling.yaml: no such file or directory"},
		{"bad glob", []string{"a[.yaml"}, `cannot expand the glob "a[.yaml": syntax error in pattern`},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, failures := findStreams(test.args, zap.NewNop())
			assert.EqualError(t, joined(failures), test.want)
		})
	}
}

func TestGlobWithoutMatchIsAWarning(t *testing.T) {
	inTree(t)
	core, logs := observer.New(zapcore.WarnLevel)
	got, failures := findStreams([]string{"*.yaml"}, zap.New(core))
	require.Empty(t, failures)
	assert.Empty(t, got)
	require.Equal(t, 1, logs.Len())
	assert.Equal(t, map[string]any{"glob": "*.yaml"}, logs.All()[0].ContextMap())
}
