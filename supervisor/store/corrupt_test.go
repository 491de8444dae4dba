package store

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"
)

const pageSize = 4096

// soundFile returns the bytes of a store with all that a tree can have: pages
// that branch, values over several pages, small buckets within a page, free pages.
func soundFile(t testing.TB) []byte {
	t.Helper()
	path := memoryPath(t)
	s, err := bigPages(path)
	require.NoError(t, err)
	fill(t, s, 12, 2, strings.Repeat("config ", 50))
	update(t, s, func(tx *Tx) error {
		return errors.Join(tx.DeleteStream("stream-0007"), tx.PutStream(stream("big", 1, strings.Repeat("y", 2*pageSize))))
	})
	require.NoError(t, s.Close())
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	return data
}

// bigPages opens a new store; its name says what the tests count on.
func bigPages(path string) (*Store, error) {
	if os.Getpagesize() != pageSize {
		return nil, fmt.Errorf("the tests of damage are written for pages of %d bytes", pageSize)
	}
	return Open(path)
}

// assertRefused checks that Open or Load refuses data and leaves it alone, or,
// when want is not nil, that it may also answer exactly what is in want.
func assertRefused(t *testing.T, path string, data []byte, want func(*Store) bool, what string) {
	t.Helper()
	require.NoError(t, os.WriteFile(path, data, 0o600))
	s, err := Open(path)
	if err == nil {
		ok := want != nil && want(s)
		require.NoError(t, s.Close())
		require.True(t, ok, "%s: went unnoticed", what)
	} else {
		require.ErrorIs(t, err, ErrCorrupt, what)
		require.ErrorContains(t, err, path, what)
		require.ErrorContains(t, err, "it was left as it is: put a backup in its place, or move it away", what)
	}
	after, err := os.ReadFile(path)
	require.NoError(t, err)
	require.True(t, bytes.Equal(data, after), "%s: the file was modified", what)
}

func TestDamagedFilesAreRefusedAndLeftAlone(t *testing.T) {
	sound := soundFile(t)
	path := memoryPath(t)
	random := make([]byte, 64<<10)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(random)
	zeroed := bytes.Clone(sound)
	clear(zeroed[2*pageSize:])
	onePage := bytes.Clone(sound)
	clear(onePage[:pageSize])
	for name, data := range map[string][]byte{
		"empty": {}, "one byte": {0}, "zeros": make([]byte, 32<<10), "random": random,
		"text":              []byte("input:\n  stdin: {}\n"),
		"long text":         []byte(strings.Repeat("input:\n  stdin: {}\n", 5000)),
		"random at the end": append(bytes.Clone(sound[:8*pageSize]), random...),
		"zeroed data":       zeroed, "zeroed header": onePage,
	} {
		t.Run(name, func(t *testing.T) { assertRefused(t, path, data, nil, name) })
	}
	t.Run("truncated", func(t *testing.T) {
		used := len(sound)
		for used > 0 && allZero(sound[used-pageSize:used]) {
			used -= pageSize
		}
		for size := 0; size < used; size += 1 + size%1021 {
			assertRefused(t, path, sound[:size], nil, fmt.Sprint("cut to ", size))
		}
	})
}

func allZero(b []byte) bool { return len(bytes.Trim(b, "\x00")) == 0 }

func TestNotAFile(t *testing.T) {
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	require.NoError(t, syscall.Mkfifo(fifo, 0o600))
	for _, path := range []string{dir, fifo} {
		_, err := Open(path)
		assert.ErrorIs(t, err, ErrCorrupt)
		assert.ErrorContains(t, err, path+": it is not a regular file")
	}
}

// Whatever bit flips, wherever a page is lost: either it is noticed or nothing
// that matters has changed.
func TestNoDamageGoesUnnoticed(t *testing.T) {
	t.Parallel()
	sound := soundFile(t)
	path := memoryPath(t)
	require.NoError(t, os.WriteFile(path, sound, 0o600))
	s, err := Open(path)
	require.NoError(t, err)
	state, revisions, err := everything(s)
	require.NoError(t, err)
	require.NoError(t, s.Close())
	same := func(s *Store) bool {
		gotState, gotRevisions, err := everything(s)
		return err == nil && assert.ObjectsAreEqual(state, gotState) && assert.ObjectsAreEqual(revisions, gotRevisions) &&
			librarySaysSound(s)
	}
	pages := len(sound) / pageSize
	require.GreaterOrEqual(t, pages, 16)

	t.Run("flipped bits", func(t *testing.T) {
		source := rand.New(rand.NewPCG(3, 3))
		flip := func(at int) {
			data := bytes.Clone(sound)
			data[at] ^= 1 << source.IntN(8)
			assertRefused(t, path, data, same, fmt.Sprintf("flip in page %d at %d", at/pageSize, at%pageSize))
		}
		// Most harm is in the first bytes of a page: its type, its length, its elements.
		for page := range pages {
			for at := 0; at < 48; at += 1 + source.IntN(5) {
				flip(page*pageSize + at)
			}
		}
		for range 150 {
			flip(source.IntN(len(sound)))
		}
	})
	t.Run("overwritten pages", func(t *testing.T) {
		for page := range pages {
			for other := range pages {
				if page == other || (page+other)%11 != 0 {
					continue
				}
				data := bytes.Clone(sound)
				copy(data[page*pageSize:(page+1)*pageSize], sound[other*pageSize:])
				assertRefused(t, path, data, same, fmt.Sprintf("page %d over page %d", other, page))
				// As if it had been meant to be there.
				order.PutUint64(data[page*pageSize:], uint64(page))
				assertRefused(t, path, data, same, fmt.Sprintf("page %d over page %d, renumbered", other, page))
			}
		}
	})
	t.Run("lost writes", func(t *testing.T) {
		require.NoError(t, os.WriteFile(path, sound, 0o600))
		s, err := Open(path)
		require.NoError(t, err)
		fill(t, s, 12, 3, strings.Repeat("CONFIG ", 50))
		newState, newRevisions, err := everything(s)
		require.NoError(t, err)
		require.NoError(t, s.Close())
		newer, err := os.ReadFile(path)
		require.NoError(t, err)
		for page := range pages {
			data := bytes.Clone(newer)
			copy(data[page*pageSize:(page+1)*pageSize], sound[page*pageSize:])
			assertRefused(t, path, data, func(s *Store) bool {
				if page < firstDataPage && same(s) {
					// Without its header a transaction has not happened, as if the
					// power had failed before it: wholly undone, which cannot be told.
					return true
				}
				gotState, gotRevisions, err := everything(s)
				return err == nil && assert.ObjectsAreEqual(newState, gotState) && assert.ObjectsAreEqual(newRevisions, gotRevisions)
			}, fmt.Sprintf("page %d as it was before", page))
		}
	})
}

// librarySaysSound asks the library's own, slower and less careful, check.
func librarySaysSound(s *Store) bool {
	return s.db.View(func(tx *bolt.Tx) error {
		var errs []error
		for err := range tx.Check() {
			errs = append(errs, err)
		}
		return errors.Join(errs...)
	}) == nil
}

// A page that leads to itself makes the library recurse until the process dies.
func TestACycleOfPagesIsRefused(t *testing.T) {
	sound := soundFile(t)
	path := memoryPath(t)
	require.NoError(t, os.WriteFile(path, sound, 0o600))
	branches := map[int]bool{}
	s, err := Open(path)
	require.NoError(t, err)
	require.NoError(t, s.db.View(func(tx *bolt.Tx) error {
		for page := range len(sound) / pageSize {
			info, err := tx.Page(page)
			if err != nil {
				return err
			}
			if info != nil && info.Type == "branch" {
				branches[page] = true
			}
		}
		return nil
	}))
	require.NoError(t, s.Close())
	require.NotEmpty(t, branches)
	for page := range branches {
		data := bytes.Clone(sound)
		order.PutUint64(data[page*pageSize+pageHeader+8:], uint64(page))
		assertRefused(t, path, data, nil, "a page that leads to itself")
	}
}

func TestAnotherProgramsFile(t *testing.T) {
	for _, options := range []*bolt.Options{nil, {NoFreelistSync: true}} {
		path := memoryPath(t)
		db, err := bolt.Open(path, 0o600, options)
		require.NoError(t, err)
		require.NoError(t, db.Update(func(tx *bolt.Tx) error {
			bucket, err := tx.CreateBucket([]byte("theirs"))
			return errors.Join(err, bucket.Put([]byte("k"), []byte("v")))
		}))
		require.NoError(t, db.Close())
		data, err := os.ReadFile(path)
		require.NoError(t, err)
		assertRefused(t, path, data, nil, "another program's")
	}
}

// rawly writes what no version wrote, with a true tally.
func rawly(t *testing.T, path, bucket, key, value string) {
	t.Helper()
	s, err := Open(path)
	require.NoError(t, err)
	require.NoError(t, write(s.db, path, func(tr *transaction) error {
		tr.changed = true
		_, _, err := tr.set(bucket, key, []byte(value))
		return err
	}))
	require.NoError(t, s.Close())
}

func TestValuesAreReadStrictly(t *testing.T) {
	for name, value := range map[string]string{
		"not JSON": "\x00\x01", "empty": "", "another type": `[]`, "two values": `{"revision":1} {}`,
		"cut off": `{"revision":`, "a field of a newer version": `{"revision":1,"colour":"red"}`,
	} {
		t.Run(name, func(t *testing.T) {
			path := memoryPath(t)
			rawly(t, path, bucketStreams, "odd", value)
			rawly(t, path, bucketRevisions, revisionKey("odd", 1), value)
			before := hashOf(t, path)
			s := mustOpen(t, path)
			_, err := s.Load()
			assert.ErrorIs(t, err, ErrCorrupt)
			assert.ErrorContains(t, err, path+`: the value of "odd" in bucket streams: `)
			_, err = s.Revisions("odd")
			assert.ErrorIs(t, err, ErrCorrupt)
			err = s.Update(func(tx *Tx) error {
				_, _, err := tx.Stream("odd")
				return err
			})
			assert.ErrorIs(t, err, ErrCorrupt)
			err = s.Update(func(tx *Tx) error { return tx.PutStream(stream("a", 1, "x")) })
			assert.ErrorIs(t, err, ErrCorrupt, "a store known to be damaged is not written to")
			assert.Equal(t, before, hashOf(t, path))
		})
	}
}

// A page that cannot be read is a fault in memory, since the library maps the file.
func TestAFileCutOffWhileOpenIsAnErrorNotAFault(t *testing.T) {
	path := statePath(t)
	s := mustOpen(t, path)
	fill(t, s, 200, 3, strings.Repeat("x", 2000))
	require.NoError(t, os.Truncate(path, 2*pageSize))

	_, err := s.Load()
	assert.ErrorIs(t, err, ErrCorrupt)
	_, err = s.Revisions("stream-0100")
	assert.ErrorIs(t, err, ErrCorrupt)
	for range 2 {
		done := make(chan error, 1)
		go func() { done <- s.Update(func(tx *Tx) error { return tx.PutStream(stream("a", 1, "x")) }) }()
		select {
		case err := <-done:
			assert.ErrorIs(t, err, ErrCorrupt)
		case <-time.After(20 * time.Second):
			t.Fatal("Update hangs")
		}
	}
}

func FuzzOpen(f *testing.F) {
	small := func() []byte {
		path := memoryPath(f)
		s, err := Open(path)
		require.NoError(f, err)
		fill(f, s, 3, 2, "config")
		require.NoError(f, s.Close())
		data, err := os.ReadFile(path)
		require.NoError(f, err)
		return data
	}()
	f.Add([]byte{})
	f.Add([]byte("input: {}"))
	f.Add(small)
	f.Add(small[:len(small)/2])
	f.Add(bytes.TrimRight(small, "\x00"))
	f.Add(soundFile(f))
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 1<<20 {
			t.Skip("bounded: 1 MiB")
		}
		path := memoryPath(t)
		require.NoError(t, os.WriteFile(path, data, 0o600))
		s, err := Open(path)
		if err != nil {
			require.ErrorIs(t, err, ErrCorrupt)
			after, err := os.ReadFile(path)
			require.NoError(t, err)
			require.True(t, bytes.Equal(data, after), "the file was modified")
			return
		}
		_, _, err = everything(s)
		require.NoError(t, err)
		require.NoError(t, s.Update(func(tx *Tx) error { return tx.PutStream(stream("new", 1, "x")) }))
		require.NoError(t, s.Close())
		s, err = Open(path)
		require.NoError(t, err)
		_, _, err = everything(s)
		require.NoError(t, err)
		require.NoError(t, s.Close())
	})
}
