package store

import (
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// rename is a migration like those to come: a field of streams gets another name.
func rename(ran *int) migration {
	return func(tx *Tx) error {
		*ran++
		bucket, err := tx.in.bucket(bucketStreams)
		if err != nil {
			return err
		}
		values := map[string]string{}
		if err := bucket.ForEach(func(key, value []byte) error {
			values[string(key)] = strings.Replace(string(value), `"level":`, `"log_level":`, 1)
			return nil
		}); err != nil {
			return err
		}
		for key, value := range values {
			if err := tx.set(bucketStreams, key, []byte(value)); err != nil {
				return err
			}
		}
		return nil
	}
}

func TestMigration(t *testing.T) {
	path := statePath(t)
	rawly(t, path, bucketStreams, "a", `{"level":"debug","revision":1,"changed_at":"2026-11-21T12:00:00Z"}`)
	rawly(t, path, bucketResources, "c", `{"type":"cache","generation":3}`)
	before := hashOf(t, path)

	failing := errors.New("cannot")
	ran := 0
	_, err := open(path, []migration{rename(&ran), func(*Tx) error { return failing }})
	require.ErrorIs(t, err, failing)
	assert.ErrorContains(t, err, path+": migrating it from schema version 2")
	_, err = open(path, []migration{func(*Tx) error { return nil }})
	require.ErrorIs(t, err, ErrCorrupt, "a migration that leaves what cannot be read is not committed")
	_, err = open(path, []migration{func(*Tx) error { panic("oops") }})
	require.ErrorIs(t, err, ErrCorrupt)
	assert.Equal(t, before, hashOf(t, path), "a migration that fails changes nothing")

	ran = 0
	noted := func(tx *Tx) error {
		return tx.PutDeclaration("stream/a", Declaration{Path: "added by the second step"})
	}
	for range 2 {
		s, err := open(path, []migration{rename(&ran), noted})
		require.NoError(t, err)
		assert.Equal(t, 1, ran, "it runs once")
		state := load(t, s)
		assert.Equal(t, "debug", state.Streams["a"].LogLevel)
		assert.Equal(t, "added by the second step", state.Declared["stream/a"].Path)
		assert.EqualValues(t, 3, state.Resources["c"].Generation)
		require.NoError(t, s.Close())
	}

	t.Run("an older Penstock refuses the newer file", func(t *testing.T) {
		before := hashOf(t, path)
		_, err := Open(path)
		require.ErrorIs(t, err, ErrCorrupt)
		assert.ErrorContains(t, err, path+": it has schema version 3, this Penstock knows versions up to 1")
		assert.ErrorContains(t, err, "start the newer Penstock")
		assert.Equal(t, before, hashOf(t, path))
	})
	t.Run("a new file begins with the newest version", func(t *testing.T) {
		path := statePath(t)
		never := func(*Tx) error { return errors.New("must not run") }
		s, err := open(path, []migration{never})
		require.NoError(t, err)
		require.NoError(t, s.Close())
		s, err = open(path, []migration{never})
		require.NoError(t, err)
		require.NoError(t, s.Close())
	})
}

func TestNonsenseVersions(t *testing.T) {
	for _, value := range []string{`0`, `-1`, `"1"`, `1.5`, `null`} {
		path := statePath(t)
		rawly(t, path, bucketMeta, keySchema, value)
		before := hashOf(t, path)
		_, err := Open(path)
		assert.ErrorIs(t, err, ErrCorrupt, value)
		assert.Equal(t, before, hashOf(t, path))
	}
}
