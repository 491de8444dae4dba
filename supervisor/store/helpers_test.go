package store

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// childEnv names the part that this test binary plays when it is run again as
// a process of its own.
const childEnv = "PENSTOCK_STORE_TEST_CHILD"

var children = map[string]func() error{}

func TestMain(m *testing.M) {
	name := os.Getenv(childEnv)
	if name == "" {
		os.Exit(m.Run())
	}
	if err := children[name](); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

var testTime = time.Date(2026, 11, 21, 12, 0, 0, 123456789, time.UTC)

func statePath(t testing.TB) string {
	t.Helper()
	return filepath.Join(t.TempDir(), "state.db")
}

// memoryPath is for tests of many commits that are not about the disk.
func memoryPath(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "penstock-store-")
	if err != nil {
		return statePath(t)
	}
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	return filepath.Join(dir, "state.db")
}

func mustOpen(t testing.TB, path string) *Store {
	t.Helper()
	s, err := Open(path)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

func update(t testing.TB, s *Store, fn func(*Tx) error) {
	t.Helper()
	require.NoError(t, s.Update(fn))
}

func load(t testing.TB, s *Store) State {
	t.Helper()
	state, err := s.Load()
	require.NoError(t, err)
	return state
}

func stream(id string, revision uint64, config string) Stream {
	return Stream{
		ID: id, Definition: Definition{Config: []byte(config)}, Revision: revision,
		Origin: OriginAPI, ChangedAt: testTime.Add(time.Duration(revision) * time.Second),
	}
}

func runner(pid int) Runner {
	return Runner{
		PID: pid, StartTime: 987654, BootID: "5a3c", Dir: "r-1", Socket: "plugin.sock", UID: 1000,
		Version: "v1.2.3", Protocol: 1, Instance: "f00", Revision: 1, StartedAt: testTime,
	}
}

func hashOf(t testing.TB, path string) [sha256.Size]byte {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	return sha256.Sum256(data)
}

// fill puts count streams with the given revisions each, and all else there is.
func fill(t testing.TB, s *Store, count int, revisions uint64, config string) {
	t.Helper()
	update(t, s, func(tx *Tx) error {
		var errs []error
		for i := range count {
			id := fmt.Sprintf("stream-%04d", i)
			for revision := range revisions {
				errs = append(errs, tx.PutStream(stream(id, revision+1, fmt.Sprint(id, revision, config))))
			}
			errs = append(errs, tx.PutRunner(id, runner(i)), tx.PutDeclaration("stream/"+id, Declaration{Path: "/etc/" + id, Hash: "ab"}))
		}
		errs = append(errs, tx.PutResource(Resource{Type: "cache", ID: "c", Config: []byte(strings.Repeat("x", 9000)), Origin: OriginFile, Generation: 7}))
		return errors.Join(errs...)
	})
}

// everything is all that a store answers.
func everything(s *Store) (State, map[string][]Revision, error) {
	state, err := s.Load()
	if err != nil {
		return State{}, nil, err
	}
	revisions := map[string][]Revision{}
	for id := range state.Streams {
		if revisions[id], err = s.Revisions(id); err != nil {
			return State{}, nil, err
		}
	}
	return state, revisions, nil
}

// childCommand is a part of this test binary as a process of its own.
func childCommand(name, path string, env ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0])
	// The race detector sleeps for a second at the end of a process otherwise.
	cmd.Env = append(append(os.Environ(), childEnv+"="+name, "STATE="+path, "GORACE=atexit_sleep_ms=0"), env...)
	return cmd
}

func runChild(t *testing.T, name, path string, env ...string) {
	t.Helper()
	output, err := childCommand(name, path, env...).CombinedOutput()
	require.NoError(t, err, "%s", output)
}
