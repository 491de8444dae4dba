package supervisor

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap/zaptest"

	"penstock/rpc"
	"penstock/supervisor/document"
	"penstock/supervisor/options"
	"penstock/supervisor/store"
)

// patience bounds every wait of these tests for what is to happen at once.
const patience = time.Minute

// TestMain makes the test's own binary a runner where it is started as one.
func TestMain(m *testing.M) {
	shake := rpc.Handshake()
	if os.Getenv(shake.MagicCookieKey) == shake.MagicCookieValue {
		plugin.Serve(&plugin.ServeConfig{
			HandshakeConfig:  shake,
			VersionedPlugins: rpc.ServerPlugins(newScriptedRunner()),
			GRPCServer:       rpc.NewGRPCServer,
			Logger:           hclog.NewNullLogger(),
		})
		return
	}
	os.Exit(m.Run())
}

// newScripted starts a supervisor of scripted runners, which the test closes.
func newScripted(t *testing.T) *Supervisor {
	t.Helper()
	// Not t.TempDir: its long path would not leave room for socket names.
	dir, err := os.MkdirTemp("", "penstock-")
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, os.RemoveAll(dir)) })
	cfg := DefaultConfig()
	cfg.Isolation.Profile = ProfileNone
	cfg.DataDir = dir
	cfg.Timeouts.Start = 3 * time.Second
	cfg.Runner, err = os.Executable()
	require.NoError(t, err)
	s, err := New(cfg, zaptest.NewLogger(t))
	require.NoError(t, err)
	require.NoError(t, s.Start(t.Context()))
	return s
}

func parsed(t *testing.T, text string) *document.Document {
	t.Helper()
	doc, err := document.Parse([]byte(text))
	require.NoError(t, err)
	return doc
}

// inTime calls what must not hang.
func inTime(t *testing.T, what string, call func() error) error {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- call() }()
	select {
	case err := <-done:
		return err
	case <-time.After(patience):
		require.Fail(t, "it hangs", what)
		return nil
	}
}

// runnerFolders counts the folders of runners, each of which goes with its
// runner.
func runnerFolders(t *testing.T, s *Supervisor) int {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(s.cfg.DataDir, "run"))
	require.NoError(t, err)
	return len(entries)
}

// TestRunnerThatHangs: a new runner that does not answer holds no change up,
// and costs nothing of what was there before.
func TestRunnerThatHangs(t *testing.T) {
	t.Parallel()
	s := newScripted(t)
	ctx := t.Context()
	hangs, good := parsed(t, hanging), parsed(t, "uses: shared")
	require.NoError(t, s.PutResource(ctx, "processor", "shared", parsed(t, "noop: {}"), Change{}))
	require.NoError(t, s.Create(ctx, "a", good, Change{}))
	before, err := s.Get("a")
	require.NoError(t, err)
	for what, change := range map[string]func() error{
		"creation":        func() error { return s.Create(ctx, "new", hangs, Change{}) },
		"change":          func() error { return s.Update(ctx, "a", hangs, Change{}) },
		"change by a set": func() error { return s.ReplaceAll(ctx, map[string]*document.Document{"a": hangs}, Change{}) },
		"creation by a set": func() error {
			return s.ReplaceAll(ctx, map[string]*document.Document{"a": good, "new": hangs}, Change{})
		},
		"change of a resource": func() error { return s.PutResource(ctx, "processor", "shared", hangs, Change{}) },
	} {
		assert.ErrorIs(t, inTime(t, what, change), ErrUnavailable, what)
		_, err := s.Get("new")
		assert.ErrorIs(t, err, ErrNotFound, what)
		now, err := s.Get("a")
		require.NoError(t, err, what)
		assert.Equal(t, StateRunning, now.State, what)
		assert.Equal(t, before.PID, now.PID, what)
		assert.Equal(t, before.Revision, now.Revision, what)
		assert.Equal(t, 1, runnerFolders(t, s), what)
	}
	require.NoError(t, inTime(t, "close", func() error { return s.Close(context.Background()) }))
	assert.Zero(t, runnerFolders(t, s))
}

// TestCloseMeetsACreation: a creation whose actor has been ended by the time it
// is to take the prepared runner leaves no runner, for which Close would wait.
func TestCloseMeetsACreation(t *testing.T) {
	// A lock that somebody waits for in vain is handed to the next in line as
	// soon as it is free. So Close, next after the creation, finds the actor
	// that has just been made; and has ended it, where there is one processor,
	// before the creation goes on.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	// Longer than the runtime lets anybody wait without that. Who waits for a
	// lock cannot be seen.
	const inVain = 5 * time.Millisecond
	for range 5 {
		s := newScripted(t)
		sp, err := newSpec(parsed(t, "input: {}"), false, false, options.Allowed{})
		require.NoError(t, err)
		ready, err := s.prepare(t.Context(), "a", sp, s.resources.all(), defaultLogLevel)
		require.NoError(t, err)

		created, closed := make(chan error, 1), make(chan error, 1)
		s.mu.Lock()
		go func() {
			st, err := s.reserve(context.Background(), "a")
			if err != nil {
				ready.discard()
				created <- err
				return
			}
			created <- s.createIn(context.Background(), st, sp, store.OriginAPI, ready, false)
		}()
		time.Sleep(inVain)
		go func() { closed <- s.Close(context.Background()) }()
		time.Sleep(inVain)
		s.mu.Unlock()
		s.mu.Lock()
		time.Sleep(inVain)
		s.mu.Unlock()
		assert.ErrorIs(t, inTime(t, "the creation", func() error { return <-created }), ErrClosed)
		require.NoError(t, inTime(t, "close", func() error { return <-closed }))
		assert.False(t, ready.alive(), "the prepared runner")
		assert.Zero(t, runnerFolders(t, s))
	}
}
