package store

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"
)

func init() { children["compact"] = childCompact }

const valueSize = 32 << 10

func valueOf(i uint64) []byte {
	return bytes.Repeat(binary.BigEndian.AppendUint64(nil, i), valueSize/8)
}

// openValues opens a file of the bucket v.
func openValues(path string) (*File, error) {
	return OpenFile(path, "look away", func(tx *bolt.Tx) error {
		_, err := tx.CreateBucket([]byte("v"))
		return err
	})
}

// putValues puts so many values.
func putValues(f *File, count uint64) error {
	return f.Write(func(tx *bolt.Tx) error {
		for i := range count {
			if err := tx.Bucket([]byte("v")).Put(binary.BigEndian.AppendUint64(nil, i), valueOf(i)); err != nil {
				return err
			}
		}
		return nil
	})
}

// keepValues leaves the first so many of them.
func keepValues(f *File, keep, count uint64) error {
	return f.Write(func(tx *bolt.Tx) error {
		for i := keep; i < count; i++ {
			if err := tx.Bucket([]byte("v")).Delete(binary.BigEndian.AppendUint64(nil, i)); err != nil {
				return err
			}
		}
		return nil
	})
}

// holdsValues says why a file has not exactly the first so many values.
func holdsValues(f *File, count uint64) error {
	return f.Read(func(tx *bolt.Tx) error {
		b := tx.Bucket([]byte("v"))
		if n := b.Stats().KeyN; uint64(n) != count {
			return fmt.Errorf("it has %d values", n)
		}
		for i := range count {
			if !bytes.Equal(b.Get(binary.BigEndian.AppendUint64(nil, i)), valueOf(i)) {
				return fmt.Errorf("value %d is another", i)
			}
		}
		return nil
	})
}

func sizeOf(t *testing.T, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	require.NoError(t, err)
	return info.Size()
}

// alone says that there is nothing beside a file.
func alone(t *testing.T, path string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	assert.Len(t, entries, 1)
}

func TestCompactGivesBackWhatIsFree(t *testing.T) {
	t.Parallel()
	path := memoryPath(t)
	f, err := openValues(path)
	require.NoError(t, err)
	const many, few = 600, 20
	require.NoError(t, putValues(f, many))
	freed, err := f.Compact()
	require.NoError(t, err)
	assert.Zero(t, freed, "nothing of it is free")
	require.NoError(t, keepValues(f, few, many))
	before := sizeOf(t, path)
	require.Greater(t, before, int64(many*valueSize))
	require.NoError(t, f.Shut())

	f, err = openValues(path)
	require.NoError(t, err)
	freed, err = f.Compact()
	require.NoError(t, err)
	assert.Equal(t, before-sizeOf(t, path), freed)
	assert.Less(t, sizeOf(t, path), int64(4*few*valueSize))
	require.NoError(t, holdsValues(f, few))
	alone(t, path)
	info, err := os.Stat(path)
	require.NoError(t, err)
	assert.EqualValues(t, 0o600, info.Mode().Perm())
	_, err = openValues(path)
	require.ErrorIs(t, err, ErrInUse, "the new file is locked as the old one was")
	require.NoError(t, putValues(f, few+1), "it is written to")
	freed, err = f.Compact()
	require.NoError(t, err)
	assert.Zero(t, freed, "it is too small to be worth it")
	require.NoError(t, f.Shut())
	f, err = openValues(path)
	require.NoError(t, err)
	require.NoError(t, holdsValues(f, few+1))
	require.NoError(t, f.Shut())
}

// childCompact fills a file and makes it smaller, over and over.
func childCompact() error {
	f, err := openValues(os.Getenv("STATE"))
	if err != nil {
		return err
	}
	for {
		if err := errors.Join(putValues(f, 400), keepValues(f, 10, 400)); err != nil {
			return err
		}
		fmt.Println("ready")
		if _, err := f.Compact(); err != nil {
			return err
		}
	}
}

// TestSIGKILLWhileCompacting: whenever a process dies that makes a file smaller,
// the next one finds a whole file, with what was committed.
func TestSIGKILLWhileCompacting(t *testing.T) {
	t.Parallel()
	path := memoryPath(t)
	var unfinishedOnes, small int
	for round := range 12 {
		cmd := childCommand("compact", path)
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		_, err = bufio.NewReader(out).ReadString('\n')
		if round%2 == 0 {
			// At any moment.
			time.Sleep(time.Duration(rand.IntN(20_000)) * time.Microsecond)
		} else {
			// While there is a copy beside the file.
			require.Eventually(t, func() bool {
				entries, err := os.ReadDir(filepath.Dir(path))
				return err == nil && len(entries) > 1
			}, 10*time.Second, 50*time.Microsecond)
		}
		require.NoError(t, cmd.Process.Kill())
		_ = cmd.Wait()
		require.NoError(t, err)
		smaller := sizeOf(t, path) < 4<<20
		entries, err := os.ReadDir(filepath.Dir(path))
		require.NoError(t, err)
		unfinishedOnes += len(entries) - 1

		f, err := openValues(path)
		require.NoError(t, err)
		alone(t, path)
		if smaller {
			small++
		}
		assert.True(t, slices.ContainsFunc([]uint64{0, 10, 400}, func(n uint64) bool { return holdsValues(f, n) == nil }))
		require.NoError(t, f.Shut())
	}
	t.Logf("%d were killed while they copied, %d after it", unfinishedOnes, small)
	assert.Positive(t, unfinishedOnes)
}

func TestStateIsMadeSmaller(t *testing.T) {
	t.Parallel()
	path := memoryPath(t)
	s, err := Open(path)
	require.NoError(t, err)
	fill(t, s, 600, 1, strings.Repeat("x", valueSize))
	update(t, s, func(tx *Tx) error {
		var errs []error
		for i := 5; i < 600; i++ {
			errs = append(errs, tx.DeleteStream(fmt.Sprintf("stream-%04d", i)))
		}
		return errors.Join(errs...)
	})
	state, revisions, err := everything(s)
	require.NoError(t, err)
	require.Len(t, state.Streams, 5)
	require.NoError(t, s.Close())
	require.Greater(t, sizeOf(t, path), int64(16<<20))

	for range 2 {
		s = mustOpen(t, path)
		assert.Less(t, sizeOf(t, path), int64(4<<20))
		now, nowRevisions, err := everything(s)
		require.NoError(t, err)
		assert.Equal(t, state, now)
		assert.Equal(t, revisions, nowRevisions)
		assert.True(t, librarySaysSound(s))
		update(t, s, func(tx *Tx) error { return tx.PutStream(stream("stream-0001", 2, "y")) })
		state, revisions, err = everything(s)
		require.NoError(t, err)
		require.NoError(t, s.Close())
	}
}
