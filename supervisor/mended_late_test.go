package supervisor

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap/zaptest"

	"penstock/supervisor/document"
	"penstock/supervisor/store"
)

const plain = "any: config"

// following makes the supervisor after one that has ended, on the same data folder.
func following(t *testing.T, old *Supervisor) *Supervisor {
	t.Helper()
	s, err := New(old.cfg, zaptest.NewLogger(t))
	require.NoError(t, err)
	return s
}

// tell has the scripted runner of a stream do something.
func tell(t *testing.T, s *Supervisor, id, what string) {
	t.Helper()
	require.NoError(t, os.WriteFile(filepath.Join(s.streamDir(id), what), nil, 0o600))
}

func awaitStream(t *testing.T, s *Supervisor, id string, fits func(Snapshot) bool) {
	t.Helper()
	require.Eventually(t, func() bool {
		snap, err := s.Get(id)
		return err == nil && fits(snap)
	}, patience, time.Millisecond)
}

func recordOf(t *testing.T, s *Supervisor, id string) (rec store.Stream) {
	t.Helper()
	require.NoError(t, s.store.Update(func(tx *store.Tx) (err error) {
		rec, _, err = tx.Stream(id)
		return err
	}))
	return rec
}

// TestFilesOfAStreamThatRunsOn: a supervisor that ends soon after it has begun
// takes no stream that it let go of for one that is gone.
func TestFilesOfAStreamThatRunsOn(t *testing.T) {
	t.Parallel()
	s := newScripted(t)
	require.NoError(t, s.Create(t.Context(), "a", parsed(t, plain), Change{}))
	log := filepath.Join(s.streamDir("a"), "stream.log")
	require.NoError(t, s.Detach(context.Background()))
	for _, end := range []func(*Supervisor) error{
		func(s *Supervisor) error { return s.Abandon(context.Background()) },
		func(s *Supervisor) error { return s.Detach(context.Background()) },
	} {
		s = following(t, s)
		require.NoError(t, s.Start(t.Context()))
		require.NoError(t, inTime(t, "the end", func() error { return end(s) }))
		assert.FileExists(t, log)
	}
	s = following(t, s)
	require.NoError(t, s.Start(t.Context()))
	require.NoError(t, s.Close(context.Background()))
}

// TestFileAfterTheEnd: a file that changes while the supervisor ends is refused.
func TestFileAfterTheEnd(t *testing.T) {
	t.Parallel()
	s := newScripted(t)
	require.NoError(t, s.Close(context.Background()))
	err := s.Declare(context.Background(), Declarations{Streams: []StreamFile{
		{ID: "a", Path: "a.yaml", Text: []byte(plain), Document: parsed(t, plain)},
	}})
	assert.ErrorIs(t, err, ErrClosed)
	assert.ErrorContains(t, err, "a.yaml")
}

// TestRestartOfAFinishedStreamThatFails: it has finished still, for the next
// supervisor too.
func TestRestartOfAFinishedStreamThatFails(t *testing.T) {
	t.Parallel()
	s := newScripted(t)
	require.NoError(t, s.Create(t.Context(), "a", parsed(t, plain), Change{}))
	tell(t, s, "a", toFinish)
	finished := func(snap Snapshot) bool { return snap.State == StateFinished }
	awaitStream(t, s, "a", finished)
	tell(t, s, "a", toFail)
	require.Error(t, s.Restart(t.Context(), "a", Change{}))
	awaitStream(t, s, "a", finished)
	assert.NotNil(t, recordOf(t, s, "a").Outcome)
	require.NoError(t, s.Close(context.Background()))
}

// TestAdoptedRunnerThatLeaves: that an earlier supervisor told a runner to go is
// no failure of a stream that is never to be started again.
func TestAdoptedRunnerThatLeaves(t *testing.T) {
	t.Parallel()
	s := newScripted(t)
	never := parsed(t, plain+"\nruntime: {restart: {policy: never}}")
	require.NoError(t, s.Create(t.Context(), "a", never, Change{}))
	old, err := s.Get("a")
	require.NoError(t, err)
	require.NoError(t, s.Detach(context.Background()))
	tell(t, s, "a", toLeave)
	require.Eventually(t, func() bool {
		left, err := filepath.Glob(filepath.Join(s.cfg.DataDir, "run", "*", "exit.json"))
		return err == nil && len(left) == 1
	}, patience, time.Millisecond)
	require.NoError(t, os.Remove(filepath.Join(s.streamDir("a"), toLeave)))
	s = following(t, s)
	require.NoError(t, s.Start(t.Context()))
	awaitStream(t, s, "a", func(snap Snapshot) bool {
		require.NotEqual(t, StateFailed, snap.State, snap.Reason)
		return snap.State == StateRunning && snap.PID != old.PID
	})
	require.NoError(t, s.Close(context.Background()))
}

// TestRefusedDeletionOfAResource: nobody misses a resource that is in use.
func TestRefusedDeletionOfAResource(t *testing.T) {
	t.Parallel()
	s := newScripted(t)
	ctx := t.Context()
	require.NoError(t, s.PutResource(ctx, "cache", "c", parsed(t, "memory: {}"), Change{}))
	require.NoError(t, s.Create(ctx, "a", parsed(t, needing), Change{}))
	stop, stopped := make(chan struct{}), make(chan error, 1)
	go func() {
		for {
			select {
			case <-stop:
				stopped <- nil
				return
			default:
			}
			var inUse *InUseError
			if err := s.DeleteResource(ctx, "cache", "c"); !errors.As(err, &inUse) {
				stopped <- errors.Join(errors.New("it was deleted"), err)
				return
			}
		}
	}()
	for range 20 {
		assert.NoError(t, s.Restart(ctx, "a", Change{}))
	}
	close(stop)
	require.NoError(t, <-stopped)
	require.NoError(t, s.Close(context.Background()))
}

// TestSetMeetsAChangeThatFails: a set that was made of a revision which is then
// taken back leaves a stream that can be changed.
func TestSetMeetsAChangeThatFails(t *testing.T) {
	t.Parallel()
	s := newScripted(t)
	ctx := t.Context()
	require.NoError(t, s.Create(ctx, "a", parsed(t, plain), Change{}))
	change, set := make(chan error, 1), make(chan error, 1)
	go func() { change <- s.Update(ctx, "a", parsed(t, hangingRun), Change{}) }()
	awaitStream(t, s, "a", func(snap Snapshot) bool { return snap.Revision == 2 })
	third := parsed(t, plain+"\nn: 3")
	go func() { set <- s.ReplaceAll(ctx, map[string]*document.Document{"a": third}, Change{}) }()
	hung := <-change
	require.ErrorIs(t, hung, ErrUnavailable)
	require.ErrorContains(t, hung, "timeouts.start")
	if err := <-set; err != nil {
		assert.ErrorIs(t, err, ErrConflict)
	}
	require.NoError(t, s.Update(ctx, "a", parsed(t, plain+"\nn: 4"), Change{}))
	snap, err := s.Get("a")
	require.NoError(t, err)
	assert.Equal(t, recordOf(t, s, "a").Revision, snap.Revision)
	require.NoError(t, s.Pause(ctx, "a", Change{}))
	require.NoError(t, s.Close(context.Background()))
}

// TestSetMeetsDeletion: a stream that is deleted while a set that has it waits
// leaves nothing behind.
func TestSetMeetsDeletion(t *testing.T) {
	t.Parallel()
	s := newScripted(t)
	ctx := t.Context()
	require.NoError(t, s.Create(ctx, "a", parsed(t, plain), Change{}))
	creation, set := make(chan error, 1), make(chan error, 1)
	go func() { creation <- s.Create(ctx, "b", parsed(t, hanging), Change{}) }()
	require.Eventually(t, func() bool { return len(s.all()) == 2 }, patience, time.Millisecond)
	go func() {
		set <- s.ReplaceAll(ctx, map[string]*document.Document{"a": parsed(t, plain+"\nn: 2"), "b": parsed(t, plain)}, Change{})
	}()
	// It waits for what becomes of the creation.
	awaitInside(t, "reserveAll")
	require.NoError(t, s.Delete(ctx, "a", time.Second))
	require.ErrorIs(t, <-creation, ErrUnavailable)
	require.ErrorIs(t, <-set, ErrConflict)
	_, err := s.Get("a")
	require.ErrorIs(t, err, ErrNotFound)
	assert.NoDirExists(t, s.streamDir("a"))
	require.NoError(t, s.Close(context.Background()))
}
