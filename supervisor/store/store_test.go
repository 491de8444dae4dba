package store

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestEverythingSurvivesReopening(t *testing.T) {
	path := statePath(t)
	s, err := Open(path)
	require.NoError(t, err)

	full := Stream{
		ID:         "orders/ä b",
		Definition: Definition{Config: []byte("input:\n  \xff\x00 not UTF-8\n"), Chilled: true, AllowTests: true},
		Revision:   3, Paused: true, LogLevel: "debug", Origin: OriginFile, ChangedAt: testTime,
		Outcome: &Outcome{Error: "it broke", At: testTime, RanFor: 90 * time.Second, Metrics: []byte(`{"a":1}`)},
		UID:     200042,
	}
	handle := runner(42)
	handle.Runner = "connect"
	handle.Confinement, handle.Generation, handle.HTTPSocket = "strict-1", 9, "http.sock"
	handle.Endpoints, handle.Prefix, handle.Restarts = []string{"/in", "/out"}, true, 5
	handle.Idle, handle.Restless = true, "its input generate takes messages by itself"
	handle.GaveUp, handle.Limits = true, []byte(`{"memory":"64MiB"}`)
	handle.LastExit = []byte(`{"reason":"oom"}`)
	resource := Resource{Type: "rate_limit", ID: "limit", Config: []byte("local: {}"), Origin: OriginAPI, Generation: 11}
	declaration := Declaration{Path: "/etc/penstock/orders.yaml", Hash: "c0ffee"}
	// A field left empty here could be forgotten unnoticed.
	for _, v := range []any{full, full.Definition, *full.Outcome, handle, resource, declaration} {
		for i := range reflect.TypeOf(v).NumField() {
			require.False(t, reflect.ValueOf(v).Field(i).IsZero(), "%T.%s", v, reflect.TypeOf(v).Field(i).Name)
		}
	}
	update(t, s, func(tx *Tx) error {
		return errors.Join(tx.PutStream(full), tx.PutStream(stream("plain", 1, "")), tx.PutRunner(full.ID, handle),
			tx.PutResource(resource), tx.PutDeclaration("stream/"+full.ID, declaration), tx.PutDeclaration("resource/limit", declaration))
	})
	require.NoError(t, s.Close())

	want := State{
		Streams:    map[string]Stream{full.ID: full, "plain": {ID: "plain", Revision: 1, Origin: OriginAPI, ChangedAt: testTime.Add(time.Second)}},
		Runners:    map[string]Runner{full.ID: handle},
		Resources:  map[string]Resource{"limit": resource},
		Declared:   map[string]Declaration{"stream/" + full.ID: declaration, "resource/limit": declaration},
		Generation: 11,
	}
	s = mustOpen(t, path)
	assert.Equal(t, want, load(t, s))
	revisions, err := s.Revisions(full.ID)
	require.NoError(t, err)
	assert.Equal(t, []Revision{{Number: 3, Definition: full.Definition, Origin: OriginFile, At: testTime}}, revisions)

	info, err := os.Stat(path)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode())

	update(t, s, func(tx *Tx) error {
		return errors.Join(tx.DeleteStream(full.ID), tx.DeleteStream("plain"), tx.DeleteStream("never"), tx.DeleteRunner("never"),
			tx.DeleteResource("limit", 12), tx.DeleteDeclaration("stream/"+full.ID), tx.DeleteDeclaration("resource/limit"))
	})
	assert.Equal(t, State{
		Streams: map[string]Stream{}, Runners: map[string]Runner{}, Resources: map[string]Resource{},
		Declared: map[string]Declaration{}, Generation: 12,
	}, load(t, s))
}

func TestRevisions(t *testing.T) {
	s := mustOpen(t, statePath(t))
	numbers := func(id string) (numbers []uint64) {
		revisions, err := s.Revisions(id)
		require.NoError(t, err)
		for _, revision := range revisions {
			numbers = append(numbers, revision.Number)
		}
		return numbers
	}
	put := func(st Stream) { update(t, s, func(tx *Tx) error { return tx.PutStream(st) }) }

	assert.Empty(t, numbers("a"))
	// Ids that are prefixes of one another, and numbers of more than one byte.
	put(stream("a\x01", 1, "other"))
	put(stream("ab", 1, "other"))
	for revision := range uint64(300) {
		put(stream("a", revision+1, "config"))
	}
	assert.Equal(t, []uint64{300, 299, 298, 297, 296, 295, 294, 293, 292, 291}, numbers("a"))

	t.Run("a lower number drops those above", func(t *testing.T) {
		put(stream("a", 297, "config"))
		assert.Equal(t, []uint64{297, 296, 295, 294, 293, 292, 291}, numbers("a"))
	})
	t.Run("the same definition keeps its time, another replaces it", func(t *testing.T) {
		st := stream("a", 297, "config")
		st.Paused, st.ChangedAt = true, testTime.Add(time.Hour)
		put(st)
		revisions, err := s.Revisions("a")
		require.NoError(t, err)
		assert.Equal(t, testTime.Add(297*time.Second), revisions[0].At)
		st.Config = []byte("better")
		put(st)
		revisions, err = s.Revisions("a")
		require.NoError(t, err)
		assert.Equal(t, Revision{Number: 297, Definition: st.Definition, Origin: OriginAPI, At: testTime.Add(time.Hour)}, revisions[0])
	})
	t.Run("a deleted stream has none, others keep theirs", func(t *testing.T) {
		update(t, s, func(tx *Tx) error { return tx.DeleteStream("a") })
		assert.Empty(t, numbers("a"))
		assert.Equal(t, []uint64{1}, numbers("ab"))
		assert.Equal(t, []uint64{1}, numbers("a\x01"))
	})
}

func TestTxSeesItsOwnWritesAndIsOverAfterwards(t *testing.T) {
	s := mustOpen(t, statePath(t))
	var kept *Tx
	update(t, s, func(tx *Tx) error {
		kept = tx
		_, ok, err := tx.Stream("a")
		assert.False(t, ok)
		assert.NoError(t, err)
		assert.NoError(t, tx.PutStream(stream("a", 1, "x")))
		st, ok, err := tx.Stream("a")
		assert.True(t, ok)
		assert.Equal(t, stream("a", 1, "x"), st)
		return err
	})
	assert.ErrorContains(t, kept.PutStream(stream("b", 1, "x")), "the transaction is over")
	assert.NotContains(t, load(t, s).Streams, "b")
}

func TestRefusedKeys(t *testing.T) {
	s := mustOpen(t, statePath(t))
	for _, id := range []string{"", "a\x00b", strings.Repeat("x", maxID+1)} {
		for _, fn := range []func(*Tx) error{
			func(tx *Tx) error { return tx.PutStream(Stream{ID: id}) },
			func(tx *Tx) error { return tx.DeleteStream(id) },
			func(tx *Tx) error { return tx.PutRunner(id, Runner{}) },
			func(tx *Tx) error { return tx.PutResource(Resource{ID: id}) },
			func(tx *Tx) error { return tx.PutDeclaration("stream/"+id, Declaration{}) },
		} {
			assert.ErrorContains(t, s.Update(fn), "an id is 1 to 1024 bytes")
		}
	}
	assert.ErrorContains(t, s.Update(func(tx *Tx) error { return tx.PutDeclaration("a", Declaration{}) }), "must be stream/ID or resource/ID")
	longest := strings.Repeat("x", maxID)
	update(t, s, func(tx *Tx) error { return tx.PutStream(stream(longest, 1, "x")) })
	assert.Contains(t, load(t, s).Streams, longest)
}

func TestSecondOpenIsRefused(t *testing.T) {
	path := statePath(t)
	s := mustOpen(t, path)
	fill(t, s, 2, 1, "x")
	before := hashOf(t, path)
	began := time.Now()
	_, err := Open(path)
	require.ErrorIs(t, err, ErrInUse)
	assert.Less(t, time.Since(began), 2*time.Second)
	assert.ErrorContains(t, err, path)
	assert.Equal(t, before, hashOf(t, path))
	assert.Len(t, load(t, s).Streams, 2)
}

func TestConcurrentCreationHasOneWinner(t *testing.T) {
	path := statePath(t)
	type result struct {
		s   *Store
		err error
	}
	results := make(chan result)
	for range 8 {
		go func() {
			s, err := Open(path)
			results <- result{s, err}
		}()
	}
	var winner *Store
	for range 8 {
		if r := <-results; r.err == nil {
			require.Nil(t, winner, "two have the file open")
			winner = r.s
		} else {
			assert.ErrorIs(t, r.err, ErrInUse)
		}
	}
	require.NotNil(t, winner)
	fill(t, winner, 1, 1, "x")
	require.NoError(t, winner.Close())
	assert.Len(t, load(t, mustOpen(t, path)).Streams, 1)
}

func TestCreationLeavesNothingBehind(t *testing.T) {
	path := statePath(t)
	// What a crash in the middle of creating one leaves.
	require.NoError(t, os.WriteFile(path+unfinished+"123", []byte("half"), 0o600))
	mustOpen(t, path)
	entries, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Len(t, entries, 1)
	assert.Equal(t, "state.db", entries[0].Name())
}

func TestClosed(t *testing.T) {
	path := statePath(t)
	s, err := Open(path)
	require.NoError(t, err)
	require.NoError(t, s.Close())
	require.NoError(t, s.Close())
	assert.ErrorIs(t, s.Update(func(*Tx) error { return nil }), ErrClosed)
	_, err = s.Load()
	assert.ErrorIs(t, err, ErrClosed)
	_, err = s.Revisions("a")
	assert.ErrorIs(t, err, ErrClosed)
	assert.ErrorContains(t, err, path)
}

func TestUnopenablePaths(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "file"), nil, 0o600))
	require.NoError(t, os.Symlink(filepath.Join(dir, "nowhere", "x"), filepath.Join(dir, "dangling")))
	for _, path := range []string{
		filepath.Join(dir, "missing", "state.db"), filepath.Join(dir, "file", "state.db"), filepath.Join(dir, "dangling"),
	} {
		_, err := Open(path)
		assert.ErrorIs(t, err, ErrUnwritable, path)
		assert.ErrorContains(t, err, path)
	}
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Len(t, entries, 2, "nothing is left of the attempts")
}
