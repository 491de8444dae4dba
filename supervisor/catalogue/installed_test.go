package catalogue

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"penstock/rpc"
)

// place is a folder with runners that scripts stand for.
type place struct {
	dir   string
	cfg   Config
	log   *zap.Logger
	warns *observer.ObservedLogs
}

func newPlace(t *testing.T) *place {
	t.Helper()
	dir := t.TempDir()
	core, warns := observer.New(zap.WarnLevel)
	p := &place{dir: dir, log: zap.New(core), warns: warns}
	p.cfg = Config{Core: filepath.Join(dir, "bin", "runner"), CacheDir: filepath.Join(dir, "cache")}
	require.NoError(t, os.Mkdir(filepath.Join(dir, "bin"), 0o700))
	script(t, p.cfg.Core, says(t, dir, coreSays))
	return p
}

// begin looks for the runners of the place until the test ends.
func (p *place) begin(t *testing.T) *Installed {
	t.Helper()
	i := New(p.cfg, p.log)
	t.Cleanup(i.Close)
	return i
}

func whole(t *testing.T, i *Installed) *Catalogue {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), awhile)
	defer cancel()
	c, err := i.Now().Whole(ctx)
	require.NoError(t, err)
	return c
}

func named(runners []*Runner) (out []string) {
	for _, r := range runners {
		out = append(out, r.Name)
	}
	return out
}

func TestWhatIsInstalled(t *testing.T) {
	p := newPlace(t)
	said := says(t, p.dir, with(component(rpc.TypeInput, "queue")))
	for _, name := range []string{"runner-a", "runner-b_2", "runner-c.old", "runner-d~", "runner-E", "runner-", "runner-core", "runner2-f", "f-runner"} {
		script(t, filepath.Join(p.dir, "bin", name), said)
	}
	require.NoError(t, os.Mkdir(filepath.Join(p.dir, "bin", "runner-folder"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(p.dir, "bin", "runner-plain"), []byte("#!/bin/sh\n"), 0o644))
	require.NoError(t, os.Symlink("missing", filepath.Join(p.dir, "bin", "runner-dangling")))
	require.NoError(t, os.Symlink(filepath.Join(p.dir, "bin", "runner-a"), filepath.Join(p.dir, "bin", "runner-link")))
	other := filepath.Join(p.dir, "elsewhere")
	script(t, other, said)
	p.cfg.Others = map[string]string{"other": other, "a": other, "gone": filepath.Join(p.dir, "gone")}
	i := p.begin(t)

	c := whole(t, i)
	assert.ElementsMatch(t, []string{"core", "a", "b_2", "link", "other"}, named(c.Runners()))
	assert.Equal(t, []string{"gone"}, named(c.Faulty()))
	assert.Equal(t, other, c.find("a").Path, "one that is named comes first")
	assert.ErrorIs(t, c.find("gone").Fault, os.ErrNotExist)
	assert.Equal(t, 1, p.warns.Len())
	assert.Same(t, c, whole(t, i), "nothing has changed")
	for _, r := range c.Runners() {
		assert.Equal(t, coreSays.Version, r.Version)
		assert.Equal(t, coreSays.Engine, r.Engine)
	}
}

func TestTheRealRunner(t *testing.T) {
	i := New(Config{Core: coreBinary, CacheDir: t.TempDir()}, zap.NewNop())
	defer i.Close()
	early, err := i.Now().Early(t.Context())
	require.NoError(t, err)
	core := early.Runners()[0]
	assert.Equal(t, []any{Core, coreBinary, coreSays.Version, coreSays.Engine, len(coreSays.Components)}, []any{core.Name, core.Path, core.Version, core.Engine, core.Components})
	assert.Regexp(t, `^v4\.`, core.Engine)
	if runtime.GOOS == "linux" {
		assert.NotEmpty(t, goBuildID(coreBinary))
	}
	said, err := i.Description(core)
	require.NoError(t, err)
	assert.Equal(t, coreSays, *said)
}

// A binary is asked once, as long as the file is what it is, by whatever server.
func TestDescriptionsAreKept(t *testing.T) {
	p := newPlace(t)
	script(t, p.cfg.Core+"-more", says(t, p.dir, with(component(rpc.TypeInput, "queue"))))
	first := New(p.cfg, p.log)
	whole(t, first)
	first.Close()
	require.Equal(t, 2, asked(t, p.dir))

	again := p.begin(t)
	assert.Equal(t, []string{"core", "more"}, named(whole(t, again).Runners()))
	assert.Equal(t, 2, asked(t, p.dir), "asked again")
	entries, err := os.ReadDir(p.cfg.CacheDir)
	require.NoError(t, err)
	require.Len(t, entries, 2)

	for n, damage := range []func(path string, text []byte) error{
		func(path string, text []byte) error { return os.WriteFile(path, text[:len(text)/2], 0o600) },
		func(path string, _ []byte) error { return os.WriteFile(path, nil, 0o600) },
		func(path string, _ []byte) error { return os.WriteFile(path, []byte(`{"format":1}`), 0o600) },
		func(path string, _ []byte) error {
			return os.WriteFile(path, []byte(`{"format":1,"description":null}`), 0o600)
		},
		func(path string, text []byte) error {
			return os.WriteFile(path, []byte(strings.Replace(string(text), `"format":1`, `"format":99`, 1)), 0o600)
		},
		func(path string, text []byte) error {
			return os.WriteFile(path, []byte(strings.Replace(string(text), `"type":"buffer"`, `"type":"bufer"`, 1)), 0o600)
		},
		func(path string, _ []byte) error { return os.Remove(path) },
		func(path string, _ []byte) error { return errors.Join(os.Remove(path), os.Mkdir(path, 0o700)) },
	} {
		for _, entry := range entries {
			path := filepath.Join(p.cfg.CacheDir, entry.Name())
			text, err := os.ReadFile(path)
			require.NoError(t, err)
			require.NoError(t, damage(path, text))
		}
		before := asked(t, p.dir)
		i := New(p.cfg, p.log)
		assert.Len(t, whole(t, i).Runners(), 2, "damage %d", n)
		assert.Equal(t, before+2, asked(t, p.dir), "damage %d", n)
		i.Close()
	}
	assert.NotZero(t, p.warns.FilterMessageSnippet("cannot be kept").Len(), "a folder is in the file's place")
}

func TestChangesOnDiskAreNoticed(t *testing.T) {
	p := newPlace(t)
	i := p.begin(t)
	assert.Equal(t, []string{"core"}, named(whole(t, i).Runners()))

	more := p.cfg.Core + "-more"
	script(t, more, says(t, p.dir, with(component(rpc.TypeInput, "queue"))))
	c := whole(t, i)
	require.Equal(t, []string{"core", "more"}, named(c.Runners()))
	queue := Named{Refs: []Ref{{rpc.TypeInput, "queue", "input"}}}
	pipe := Named{Refs: []Ref{{rpc.TypeInput, "pipe", "input"}}}
	assert.True(t, c.find("more").Carries(queue))
	require.Equal(t, 2, asked(t, p.dir))

	// Replaced, and then written over.
	newer := with(component(rpc.TypeInput, "pipe"))
	newer.Version = "2"
	script(t, more, says(t, p.dir, newer))
	c = whole(t, i)
	assert.True(t, c.find("more").Carries(pipe))
	assert.False(t, c.find("more").Carries(queue))
	assert.Equal(t, "2", c.find("more").Version)
	require.NoError(t, os.WriteFile(more, []byte("#!/bin/sh\n"+says(t, p.dir, with(component(rpc.TypeInput, "queue")))+"# longer\n"), 0o755))
	c = whole(t, i)
	assert.True(t, c.find("more").Carries(queue))
	assert.Equal(t, 4, asked(t, p.dir), "the core runner was asked once")

	require.NoError(t, os.Chmod(more, 0o644))
	assert.Equal(t, []string{"core"}, named(whole(t, i).Runners()))
	require.NoError(t, os.Chmod(more, 0o755))
	assert.Equal(t, []string{"core", "more"}, named(whole(t, i).Runners()))
	require.NoError(t, os.Remove(more))
	assert.Equal(t, []string{"core"}, named(whole(t, i).Runners()))
	entries, err := os.ReadDir(p.cfg.CacheDir)
	require.NoError(t, err)
	assert.Len(t, entries, 1, "what the others said")

	require.NoError(t, os.Remove(p.cfg.Core))
	c = whole(t, i)
	assert.Equal(t, []string{"core"}, named(c.Faulty()))
	assert.ErrorIs(t, c.find(Core).Fault, os.ErrNotExist)
}

func TestBinariesThatDoNotDescribeThemselves(t *testing.T) {
	p := newPlace(t)
	old := coreSays
	old.Protocol = 1
	odd := with(component("inputt", "queue"))
	empty := coreSays
	empty.Components = nil
	want := map[string]struct{ text, fault string }{
		"fails":   {"echo first; echo no such >&2; echo thing >&2; exit 3\n", p.cfg.Core + "-fails --describe failed: exit status 3: it printed: no such; thing"},
		"killed":  {"kill -9 $$\n", p.cfg.Core + "-killed --describe failed: signal: killed"},
		"silent":  {"exit 0\n", "what it says of itself cannot be read: unexpected end of JSON input"},
		"talks":   {"echo hello\n", "what it says of itself cannot be read: invalid character 'h' looking for beginning of value"},
		"floods":  {"exec cat /dev/zero\n", "what it says of itself is more than 32 MiB"},
		"old":     {says(t, p.dir, old), "it speaks version 1 of the protocol, and this server version 2: build both of the same version"},
		"odd":     {says(t, p.dir, odd), `it says that it has a component "queue" of the type "inputt", which there is not`},
		"empty":   {says(t, p.dir, empty), "it says that it has no components"},
		"refused": {says(t, p.dir, coreSays), "it is refused"},
	}
	for name, of := range want {
		script(t, p.cfg.Core+"-"+name, of.text)
	}
	require.NoError(t, os.WriteFile(p.cfg.Core+"-foreign", []byte("\x7fELF not a program"), 0o755))
	p.cfg.Usable = func(path string) error {
		if strings.HasSuffix(path, "-refused") {
			return errors.New("it is refused")
		}
		return nil
	}
	c := whole(t, p.begin(t))
	assert.Equal(t, []string{"core"}, named(c.Runners()))
	for name, of := range want {
		if r := c.find(name); assert.NotNil(t, r, name) {
			assert.EqualError(t, r.Fault, of.fault)
		}
		assert.Equal(t, 1, p.warns.FilterField(zap.String("runner", name)).FilterField(zap.Error(c.find(name).Fault)).Len(), name)
	}
	assert.ErrorContains(t, c.find("foreign").Fault, "exec format error")
}

// What hangs keeps nobody from what the core runner carries, nor the end.
func TestABinaryThatHangs(t *testing.T) {
	p := newPlace(t)
	script(t, p.cfg.Core+"-hangs", "sleep 1000 & wait\n")
	i := New(p.cfg, p.log)
	view := i.Now()
	ctx, cancel := context.WithTimeout(t.Context(), awhile)
	defer cancel()
	c, isWhole, err := view.Known(ctx)
	require.NoError(t, err)
	assert.False(t, isWhole)
	assert.Equal(t, []string{"core"}, named(c.Runners()))

	ended := make(chan error, 1)
	go func() { _, err := view.Whole(context.Background()); ended <- err }()
	began := time.Now()
	i.Close()
	assert.Less(t, time.Since(began), 5*time.Second)
	assert.ErrorIs(t, <-ended, ErrClosed)
	assert.Zero(t, p.warns.Len(), "the end is nobody's fault")
}

// One that could not describe itself is asked again after a while, and nobody
// waits for that.
func TestFaultsAreLookedAtAgain(t *testing.T) {
	p := newPlace(t)
	flag := filepath.Join(p.dir, "works")
	script(t, p.cfg.Core+"-late", "test -e "+flag+" || exit 1\n"+says(t, p.dir, with(component(rpc.TypeInput, "queue"))))
	i := p.begin(t)
	require.Equal(t, []string{"late"}, named(whole(t, i).Faulty()))
	require.NoError(t, os.WriteFile(flag, nil, 0o600))
	assert.Equal(t, []string{"late"}, named(whole(t, i).Faulty()), "too early")

	i.mu.Lock()
	i.round.described = i.round.described.Add(-2 * patience)
	i.mu.Unlock()
	assert.Equal(t, []string{"late"}, named(whole(t, i).Faulty()), "it waited")
	require.Eventually(t, func() bool { return len(whole(t, i).Runners()) == 2 }, awhile, 10*time.Millisecond)
	assert.Empty(t, whole(t, i).Faulty())
}

func TestManyAtOnce(t *testing.T) {
	p := newPlace(t)
	i := p.begin(t)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			for range 20 {
				c, err := i.Now().Whole(t.Context())
				if !assert.NoError(t, err) || !assert.Equal(t, Core, c.Runners()[0].Name) {
					return
				}
			}
		})
	}
	for n := range 10 {
		said := with(component(rpc.TypeInput, "queue"))
		said.Version = string(rune('a' + n))
		script(t, p.cfg.Core+"-more", says(t, p.dir, said))
		assert.Equal(t, said.Version, whole(t, i).find("more").Version, "what is on the disk now")
	}
	wg.Wait()
}
