package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"penstock/supervisor"
)

// watchTimeout bounds every wait for a change to be seen.
const watchTimeout = 20 * time.Second

// watching is a watcher at work.
type watching struct {
	t    *testing.T
	logs *observer.ObservedLogs

	mu    sync.Mutex
	last  map[string]string
	calls int
	// refuse is the answer to the declaration of a stream with that text.
	refuse map[string]error
}

// watch puts the source's files into force and watches them.
func watch(t *testing.T, src source) *watching {
	t.Helper()
	core, logs := observer.New(zapcore.ErrorLevel)
	w := &watching{t: t, logs: logs, refuse: map[string]error{}}
	declared, failures := src.read(zap.NewNop())
	require.NoError(t, joined(failures))
	w.last = defines(declared)
	watcher, err := newWatcher(src, declared, w.declare, zap.New(core))
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		watcher.run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	return w
}

func (w *watching) declare(_ context.Context, d supervisor.Declarations) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.last = defines(d)
	w.calls++
	var errs []error
	for _, s := range d.Streams {
		if err := w.refuse[string(s.Text)]; err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", s.Path, err))
		}
	}
	return errors.Join(errs...)
}

func (w *watching) state() (map[string]string, int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return maps.Clone(w.last), w.calls
}

// becomes awaits that the files define this.
func (w *watching) becomes(want map[string]string) {
	w.t.Helper()
	var got map[string]string
	require.Eventually(w.t, func() bool {
		got, _ = w.state()
		return maps.Equal(want, got)
	}, watchTimeout, 5*time.Millisecond, "want %v", want)
}

// tells awaits that an error was logged.
func (w *watching) tells(text string) {
	w.t.Helper()
	require.Eventually(w.t, func() bool { return w.told(text) > 0 }, watchTimeout, 5*time.Millisecond, text)
}

// told counts how often an error was logged.
func (w *watching) told(text string) int {
	n := 0
	for _, entry := range w.logs.All() {
		if err, ok := entry.ContextMap()["error"].(string); ok && strings.Contains(err, text) {
			n++
		}
	}
	return n
}

func TestWatchSeesFilesComeChangeAndGo(t *testing.T) {
	t.Chdir(t.TempDir())
	put(t, "s/a.yaml", "a: 1\n")
	put(t, "alone.yaml", "alone: 1\n")
	put(t, "r/c.yaml", "cache_resources: [{label: c, memory: {}}]\n")
	require.NoError(t, os.MkdirAll("globs", 0o755))
	w := watch(t, source{args: []string{"s", "alone.yaml", "globs/**/x*.yaml"}, resources: []string{"r/*.yaml"}})
	want := map[string]string{"a": "a: 1\n", "alone": "alone: 1\n", "cache/c": filepath.Join("r", "c.yaml")}
	for _, step := range []struct {
		name string
		do   func()
	}{
		{"a file changes", func() { put(t, "s/a.yaml", "a: 2\n"); want["a"] = "a: 2\n" }},
		{"a file is written in place", func() {
			require.NoError(t, os.WriteFile("s/a.yaml", []byte("a: 3\n"), 0o600))
			want["a"] = "a: 3\n"
		}},
		{"a file comes", func() { put(t, "s/b.yaml", "b: 1\n"); want["b"] = "b: 1\n" }},
		{"a folder comes", func() { put(t, "s/deep/er/c.yaml", "c: 1\n"); want["deep_er_c"] = "c: 1\n" }},
		{"a file in it changes", func() { put(t, "s/deep/er/c.yaml", "c: 2\n"); want["deep_er_c"] = "c: 2\n" }},
		{"a file goes", func() { require.NoError(t, os.Remove("s/b.yaml")); delete(want, "b") }},
		{"a folder goes", func() { require.NoError(t, os.RemoveAll("s/deep")); delete(want, "deep_er_c") }},
		{"and comes back", func() { put(t, "s/deep/er/c.yaml", "c: 3\n"); want["deep_er_c"] = "c: 3\n" }},
		{"a named file changes", func() { put(t, "alone.yaml", "alone: 2\n"); want["alone"] = "alone: 2\n" }},
		{"a resource comes", func() {
			put(t, "r/d.yaml", "cache_resources: [{label: d, memory: {}}]\n")
			want["cache/d"] = filepath.Join("r", "d.yaml")
		}},
		{"a resource goes", func() { require.NoError(t, os.Remove("r/c.yaml")); delete(want, "cache/c") }},
		{"a glob matches", func() { put(t, "globs/in/x1.yaml", "x: 1\n"); want["x1"] = "x: 1\n" }},
		{"the match changes", func() { put(t, "globs/in/x1.yaml", "x: 2\n"); want["x1"] = "x: 2\n" }},
	} {
		t.Log(step.name)
		step.do()
		w.becomes(want)
	}
	assert.Empty(t, w.logs.All())
}

// A Kubernetes ConfigMap is changed by a new folder and a symbolic link that
// is renamed onto the old one; the files themselves never change.
func TestWatchSeesAConfigMapChange(t *testing.T) {
	dir := t.TempDir()
	swap := func(name, text string) {
		put(t, filepath.Join(dir, name, "a.yaml"), text)
		require.NoError(t, os.Symlink(name, filepath.Join(dir, "..data_tmp")))
		require.NoError(t, os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")))
	}
	swap("..2026_1", "a: 1\n")
	require.NoError(t, os.Symlink(filepath.Join("..data", "a.yaml"), filepath.Join(dir, "a.yaml")))
	for name, args := range map[string][]string{
		"folder": {dir}, "file": {filepath.Join(dir, "a.yaml")}, "glob": {filepath.Join(dir, "*.yaml")},
	} {
		t.Run(name, func(t *testing.T) {
			swap("..2026_1", "a: 1\n")
			w := watch(t, source{args: args})
			swap("..2026_2", "a: 2\n")
			require.NoError(t, os.RemoveAll(filepath.Join(dir, "..2026_1")))
			w.becomes(map[string]string{"a": "a: 2\n"})
			swap("..2026_3", "a: 3\n")
			w.becomes(map[string]string{"a": "a: 3\n"})
			assert.Empty(t, w.logs.All())
		})
	}
}

func TestWatchFollowsLinks(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	put(t, at("releases/1/streams/a.yaml"), "a: 1\n")
	put(t, at("releases/2/streams/a.yaml"), "a: 2\n")
	put(t, at("elsewhere/b.yaml"), "b: 1\n")
	put(t, at("links/keep.txt"), "")
	require.NoError(t, os.Symlink(at("releases/1"), at("current")))
	require.NoError(t, os.Symlink(at("elsewhere/b.yaml"), at("links/b.yaml")))
	w := watch(t, source{args: []string{at("current/streams"), at("links")}})

	put(t, at("elsewhere/b.yaml"), "b: 2\n")
	w.becomes(map[string]string{"a": "a: 1\n", "b": "b: 2\n"})
	require.NoError(t, os.Symlink(at("releases/2"), at("next")))
	require.NoError(t, os.Rename(at("next"), at("current")))
	w.becomes(map[string]string{"a": "a: 2\n", "b": "b: 2\n"})
	put(t, at("releases/2/streams/a.yaml"), "a: 3\n")
	w.becomes(map[string]string{"a": "a: 3\n", "b": "b: 2\n"})
}

func TestWatchKeepsWhatCannotBeRead(t *testing.T) {
	t.Chdir(t.TempDir())
	put(t, "s/a.yaml", "a: 1\n")
	put(t, "s/b.yaml", "b: 1\n")
	put(t, "alone.yaml", "alone: 1\n")
	put(t, "r.yaml", "cache_resources: [{label: c, memory: {}}]\n")
	w := watch(t, source{args: []string{"s", "alone.yaml"}, resources: []string{"r.yaml"}})
	want := map[string]string{"a": "a: 1\n", "b": "b: 1\n", "alone": "alone: 1\n", "cache/c": "r.yaml"}

	put(t, "s/a.yaml", "a: [")
	w.tells("s/a.yaml: yaml: line 1")
	w.becomes(want)

	// The rest is put into force.
	put(t, "s/b.yaml", "b: 2\n")
	want["b"] = "b: 2\n"
	w.becomes(want)

	put(t, "r.yaml", "caches: []\n")
	w.tells(`r.yaml: line 1, column 1: unknown key "caches"`)
	require.NoError(t, os.Remove("alone.yaml"))
	w.tells("stat alone.yaml: no such file or directory")
	put(t, "s/deep/a.yaml", "x: 1\n")
	put(t, "s/deep_a.yaml", "x: 2\n")
	w.tells(`stream id "deep_a" is given twice`)
	put(t, "s/b.yaml", "b: 3\n")
	want["b"] = "b: 3\n"
	w.becomes(want)
	require.Equal(t, 1, w.told("s/a.yaml: yaml: line 1"), "each error is told once")

	// What is mended counts again.
	require.NoError(t, os.Remove("s/deep_a.yaml"))
	put(t, "s/a.yaml", "a: 2\n")
	put(t, "alone.yaml", "alone: 2\n")
	want["a"], want["alone"], want["deep_a"] = "a: 2\n", "alone: 2\n", "x: 1\n"
	w.becomes(want)

	// A folder that has gone as a whole is no folder without files.
	require.NoError(t, os.Rename("s", "elsewhere"))
	w.tells("stat s: no such file or directory")
	w.becomes(want)
	require.NoError(t, os.Rename("elsewhere", "s"))
	require.NoError(t, os.Remove("s/b.yaml"))
	delete(want, "b")
	w.becomes(want)
}

func TestWatchTriesAgainWhatWasRefused(t *testing.T) {
	t.Chdir(t.TempDir())
	put(t, "s/a.yaml", "a: 1\n")
	w := watch(t, source{args: []string{"s"}})
	w.mu.Lock()
	w.refuse["a: bad\n"] = errors.New("lint errors: (1,1) no")
	w.mu.Unlock()
	put(t, "s/a.yaml", "a: bad\n")
	w.tells("s/a.yaml: lint errors: (1,1) no")
	_, before := w.state()
	// With nothing changed but the times.
	require.NoError(t, os.Chtimes("s/a.yaml", time.Now(), time.Now()))
	require.Eventually(t, func() bool { _, calls := w.state(); return calls > before }, watchTimeout, 5*time.Millisecond)
	assert.Equal(t, 1, w.told("s/a.yaml: lint errors"), "each error is told once")
}

func TestWatchReadsOnceForManyChanges(t *testing.T) {
	t.Chdir(t.TempDir())
	put(t, "s/a.yaml", "a: 1\n")
	w := watch(t, source{args: []string{"s"}})
	want := map[string]string{"a": "a: 1\n"}
	for i := range 50 {
		put(t, fmt.Sprintf("s/b%d.yaml", i), "b: 1\n")
		want[fmt.Sprintf("b%d", i)] = "b: 1\n"
	}
	w.becomes(want)
	_, calls := w.state()
	assert.LessOrEqual(t, calls, 5)
}
