package logs

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// secret is in a file that the stream must not get the supervisor to read.
const secret = "the host's secret\n"

// traps are what a stream can put in the place of a log file.
var traps = map[string]func(t *testing.T, path, secret string){
	"link": func(t *testing.T, path, secret string) { require.NoError(t, os.Symlink(secret, path)) },
	"pipe": func(t *testing.T, path, _ string) { require.NoError(t, syscall.Mkfifo(path, 0o600)) },
	"socket": func(t *testing.T, path, _ string) {
		t.Chdir(filepath.Dir(path))
		l, err := new(net.ListenConfig).Listen(t.Context(), "unix", filepath.Base(path))
		require.NoError(t, err)
		t.Cleanup(func() { assert.NoError(t, l.Close()) })
	},
	"folder": func(t *testing.T, path, secret string) {
		require.NoError(t, os.Mkdir(path, 0o700))
		require.NoError(t, os.Symlink(secret, filepath.Join(path, "stream.log")))
	},
	"device": func(t *testing.T, path, _ string) {
		needsRoot(t, "making a device")
		// As /dev/zero is, which has no end.
		require.NoError(t, syscall.Mknod(path, syscall.S_IFCHR|0o666, 1<<8|5))
	},
	"hard link": func(t *testing.T, path, secret string) {
		needsRoot(t, "giving a folder to another user")
		require.NoError(t, os.Link(secret, path))
	},
}

// give makes all of a folder but the name the stream's, as they are when it has
// a user of its own.
func give(t *testing.T, dir, name string) {
	t.Helper()
	if os.Geteuid() != 0 {
		return
	}
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, entry := range entries {
		if entry.Name() != name {
			require.NoError(t, os.Lchown(filepath.Join(dir, entry.Name()), 4711, 4711))
		}
	}
	require.NoError(t, os.Chown(dir, 4711, 4711))
}

// needsRoot skips a test that only root can run, but never in CI.
func needsRoot(t *testing.T, why string) {
	t.Helper()
	if os.Geteuid() == 0 {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("this test has to run as root: " + why)
	}
	t.Skip("only root can do that: " + why)
}

func outside(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	require.NoError(t, os.WriteFile(path, []byte(secret), 0o600))
	return path
}

// logged returns what is read where there is a trap. Only one that is a regular
// file as well, as a log file is, needs a word.
func logged(t *testing.T, dir string, q Query, trap string) []string {
	t.Helper()
	lines := rest(t, open(t, dir, q))
	if trap != "hard link" {
		return lines
	}
	require.NotEmpty(t, lines)
	assert.Contains(t, lines[0], "Lines may be missing here: a log file is not read: ")
	assert.Contains(t, lines[0], "it belongs to user 0, not to the folder's, 4711")
	return lines[1:]
}

// What is in the place of a log file is passed over, and the real ones beside
// it are read.
func TestTrapsArePassedOver(t *testing.T) {
	for name, put := range traps {
		t.Run(name+" as the current file", func(t *testing.T) {
			dir := t.TempDir()
			require.NoError(t, os.WriteFile(filepath.Join(dir, old), []byte("old\n"), 0o600))
			put(t, filepath.Join(dir, "stream.log"), outside(t))
			give(t, dir, "stream.log")
			assert.Equal(t, []string{"old"}, logged(t, dir, Query{Tail: -1}, name))
			assert.Equal(t, []string{"old"}, logged(t, dir, Query{Tail: 1}, name))
		})
		t.Run(name+" as an older file", func(t *testing.T) {
			dir := t.TempDir()
			put(t, filepath.Join(dir, old), outside(t))
			require.NoError(t, os.WriteFile(filepath.Join(dir, "stream.log"), []byte("new\n"), 0o600))
			give(t, dir, old)
			assert.Equal(t, []string{"new"}, logged(t, dir, Query{Tail: 5}, name))
		})
		t.Run(name+" while it is followed", func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "stream.log")
			require.NoError(t, os.WriteFile(path, []byte("before\n"), 0o600))
			r := open(t, dir, Query{Tail: -1, Follow: true})
			assert.Equal(t, []string{"before"}, next(t, r, 1))
			require.NoError(t, os.Remove(path))
			put(t, path, outside(t))
			give(t, dir, "stream.log")
			isWaiting(t, r)
			require.NoError(t, os.RemoveAll(path))
			require.NoError(t, os.WriteFile(path, []byte("after\n"), 0o600))
			give(t, dir, "")
			notice := next(t, r, 1)
			assert.Contains(t, notice[0], noticeRotated)
			assert.Equal(t, []string{"after"}, next(t, r, 1))
		})
	}
}

// A stream puts other things in the place of its log all the time.
func TestALogThatIsReplacedAllTheTime(t *testing.T) {
	needsRoot(t, "giving files to another user")
	secretFile, dir := outside(t), t.TempDir()
	require.NoError(t, os.Chown(dir, 4711, 4711))
	ended, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; ; i++ {
			select {
			case <-ended:
				return
			default:
			}
			temp, path := filepath.Join(dir, "temp"), filepath.Join(dir, []string{"stream.log", old}[i/4%2])
			made := []error{}
			switch i % 4 {
			case 0:
				made = append(made, os.Symlink(secretFile, temp))
			case 1:
				made = append(made, syscall.Mkfifo(temp, 0o600))
			case 2:
				made = append(made, os.Link(secretFile, temp))
			case 3:
				made = append(made, os.WriteFile(temp, []byte("mine\n"), 0o600), os.Chown(temp, 4711, 4711))
			}
			if !assert.NoError(t, errors.Join(append(made, os.Rename(temp, path))...)) {
				return
			}
		}
	}()
	t.Cleanup(func() { close(ended); <-done })
	for deadline := time.Now().Add(time.Second); time.Now().Before(deadline); {
		for _, line := range rest(t, open(t, dir, Query{Tail: -1})) {
			require.Regexp(t, "^mine$|Lines may be missing here: a log file is not read", line)
		}
	}
}

// A file can be made larger than any disk without a byte being written.
func TestAFileOfHolesIsNotReadToItsBeginning(t *testing.T) {
	const size = 1 << 42
	dir := put(t, map[string]string{"stream.log": ""})
	path := filepath.Join(dir, "stream.log")
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	require.NoError(t, err)
	defer f.Close()
	_, err = f.WriteAt([]byte("\nend\n"), size)
	require.NoError(t, err)

	assert.Equal(t, []string{"end"}, rest(t, open(t, dir, Query{Tail: 1})))
	began := time.Now()
	got := rest(t, open(t, dir, Query{Tail: 3}))
	require.Len(t, got, 3)
	assert.Contains(t, got[0], "Lines may be missing here: the last 3 lines were looked for in the last 32 MiB of the log only")
	assert.Contains(t, got[1], "bytes cut)")
	assert.Equal(t, "end", got[2])
	assert.Less(t, time.Since(began), 20*time.Second)

	// Nor is what is left of it, when all is wanted, more than a file may hold.
	r := open(t, dir, Query{Tail: -1})
	line, err := r.Next(soon(t))
	require.NoError(t, err)
	assert.Contains(t, line.Text(), fmt.Sprintf("Lines may be missing here: %d bytes of a log file", size+5-maxUnread))
}

func TestAFileThatGrowsByHolesWhileItIsFollowed(t *testing.T) {
	dir := put(t, map[string]string{"stream.log": "1\n"})
	r := open(t, dir, Query{Tail: -1, Follow: true})
	assert.Equal(t, []string{"1"}, next(t, r, 1))
	f, err := os.OpenFile(filepath.Join(dir, "stream.log"), os.O_WRONLY, 0)
	require.NoError(t, err)
	defer f.Close()
	// Reading goes on within what may be unread, and leaves out what is not.
	_, err = f.WriteAt([]byte("\n"+strings.Repeat("x", 9)+"\n"), 1<<42)
	require.NoError(t, err)
	r.chain[0].next = 1 << 42
	assert.Equal(t, []string{"", strings.Repeat("x", 9)}, next(t, r, 2))
	r.chain[0].next = 2
	notice := next(t, r, 1)
	assert.Contains(t, notice[0], "Lines may be missing here")
}

func TestAFileThatShrinksWhileItsEndIsLookedFor(t *testing.T) {
	text := strings.Repeat("line\n", 2*blockSize)
	dir := put(t, map[string]string{"stream.log": text})
	f, err := os.Open(filepath.Join(dir, "stream.log"))
	require.NoError(t, err)
	defer f.Close()
	require.NoError(t, os.Truncate(f.Name(), 7))
	find := tail{lines: 1, source: SourceLog, ending: endFile}
	index, offset, err := find.find([]span{{file: f, size: int64(len(text))}})
	require.NoError(t, err)
	assert.Zero(t, index)
	assert.EqualValues(t, 5, offset)
}

// Files without number hide no log, and cost a bounded time.
func TestAFolderOfTooManyFiles(t *testing.T) {
	dir := put(t, map[string]string{"stream.log": "1\n"})
	for i := range 100 {
		require.NoError(t, os.Symlink("x", filepath.Join(dir, fmt.Sprint(i))))
	}
	for entries, want := range map[int]int{100: 2, 101: 1} {
		r := &Reader{files: rotationOf(dir, SourceLog), source: SourceLog, block: make([]byte, blockSize), ended: true}
		r.files.entries = entries
		require.NoError(t, r.begin(Query{Tail: -1}))
		got := rest(t, r)
		require.Len(t, got, want)
		assert.Equal(t, "1", got[want-1])
		if want > 1 {
			assert.Contains(t, got[0], "Lines may be missing here: the log's folder has more than 100 entries")
		}
		require.NoError(t, r.Close())
	}
}

// watching begins a watch of the stream's log in dir.
func watching(t *testing.T, dir string) *watch {
	t.Helper()
	w := newWatch(rotationOf(dir, SourceLog))
	require.NotNil(t, w.watcher)
	t.Cleanup(w.close)
	return w
}

// Whatever else a stream does in the folder, who follows its log is not woken.
func TestOtherFilesWakeNobody(t *testing.T) {
	dir := put(t, map[string]string{"stream.log": ""})
	w := watching(t, dir)
	for i := range 5 * burst {
		name := filepath.Join(dir, fmt.Sprintf("output-%d.log", i))
		require.NoError(t, os.WriteFile(name, []byte("x"), 0o600))
		require.NoError(t, os.Remove(name))
	}
	select {
	case <-w.changed:
		require.FailNow(t, "it was woken")
	case <-time.After(100 * time.Millisecond):
	}
	write(t, rotated(t, dir, "stream.log"), "x\n")
	select {
	case <-w.changed:
	case <-time.After(20 * time.Second):
		require.FailNow(t, "it was not woken by the log")
	}
}

// A log that changes all the time wakes nobody all the time.
func TestAChangeIsHeardOfEverySoOften(t *testing.T) {
	dir := put(t, map[string]string{"stream.log": ""})
	w := watching(t, dir)
	woken := 0
	began := time.Now()
	for time.Since(began) < 30*pause {
		require.NoError(t, os.Chmod(filepath.Join(dir, "stream.log"), 0o600))
		require.NoError(t, os.WriteFile(filepath.Join(dir, "other"), nil, 0o600))
		select {
		case <-w.changed:
			woken++
		default:
		}
	}
	assert.Positive(t, woken)
	assert.LessOrEqual(t, woken, int(time.Since(began)/pause)+1)
}
