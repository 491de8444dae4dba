package integration

import (
	"context"
	"errors"
	"fmt"
	"io"

	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// impostor puts something in the place of a file, as the stream whose file it is
// could, and returns how to put the file back.
func impostor(t *testing.T, path string, make func(path string) error) (back func()) {
	t.Helper()
	aside := path + ".aside"
	owner := ownerOf(t, path)
	require.NoError(t, os.Rename(path, aside))
	require.NoError(t, make(path))
	// The name of a file that is another's does not make it the stream's.
	var stat syscall.Stat_t
	require.NoError(t, syscall.Lstat(path, &stat))
	if stat.Nlink == 1 || stat.Mode&syscall.S_IFMT == syscall.S_IFDIR {
		require.NoError(t, os.Lchown(path, int(owner), int(owner)))
	}
	return func() {
		t.Helper()
		require.NoError(t, os.RemoveAll(path))
		require.NoError(t, os.Rename(aside, path))
	}
}

// TestStrictTamperedSockets: what a stream puts in the place of its runner's
// socket gets no request, and no other stream is reached through it.
func TestStrictTamperedSockets(t *testing.T) {
	t.Parallel()
	p, n := startStrict(t)
	p.expect(t, 200, "POST", "/streams/other", echo("other"))
	other := strictly(t, p.client, "other")
	others := socketOf(t, p.DataDir, other.PID)
	heard := make(chan string, 16)
	listening := filepath.Join(t.TempDir(), "socket")
	l := n.listen("unix", listening)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_ = conn.SetDeadline(time.Now().Add(2 * time.Second))
			text, _ := io.ReadAll(conn)
			_ = conn.Close()
			heard <- string(text)
		}
	}()
	for name, make := range map[string]func(path string) error{
		"link to another runner": func(path string) error { return os.Symlink(others, path) },
		"another runner's":       func(path string) error { return os.Link(others, path) },
		"link to a program's":    func(path string) error { return os.Symlink(listening, path) },
		"dangling link":          func(path string) error { return os.Symlink("/nowhere", path) },
		"file":                   func(path string) error { return os.WriteFile(path, nil, 0o600) },
		"pipe":                   func(path string) error { return syscall.Mkfifo(path, 0o600) },
		"folder":                 func(path string) error { return os.Mkdir(path, 0o700) },
	} {
		p.expect(t, 200, "POST", "/streams/a", echo("a"))
		back := impostor(t, socketOf(t, p.DataDir, strictly(t, p.client, "a").PID), make)
		for _, path := range []string{"/a/post", "/a/ready"} {
			var a answer
			took := timed(func() { a = p.call(t, "POST", path, "a secret") })
			assert.Equal(t, 503, a.Status, "%s: %s answered %s", name, path, a)
			assert.NotContains(t, a.Text(), "other:", name)
			assert.Less(t, took, 2*margin, name)
		}
		awaitEcho(t, p.client, "/other/post", "other")
		p.expect(t, 200, "GET", "/streams/a/status", "")
		back()
		awaitEcho(t, p.client, "/a/post", "a")
		p.expect(t, 200, "DELETE", "/streams/a", "")
	}
	for len(heard) > 0 {
		assert.Empty(t, <-heard, "what the impostor was sent")
	}
	assert.Equal(t, other, strictly(t, p.client, "other"))
}

// TestStrictTamperedAdoption: a socket that leads to another stream's runner has
// nobody adopted in that one's place.
func TestStrictTamperedAdoption(t *testing.T) {
	t.Parallel()
	for name, make := range map[string]func(other, path string) error{
		"link": os.Symlink,
		"pipe": func(_, path string) error { return syscall.Mkfifo(path, 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, _ := newStrictRestartable(t)
			r.start(t, strictArgs()...)
			for _, id := range []string{"a", "other"} {
				r.expect(t, 200, "POST", "/streams/"+id, echo(id))
			}
			a, other := strictly(t, r.client, "a"), strictly(t, r.client, "other")
			r.kill9(t)
			rec, others := r.runnerRecord(t, "a"), r.runnerRecord(t, "other")
			target := filepath.Join(r.folder(others), others["socket"].(string))
			impostor(t, filepath.Join(r.folder(rec), rec["socket"].(string)), func(path string) error { return make(target, path) })

			r.start(t, strictArgs()...)
			awaitEcho(t, r.client, "/a/post", "a")
			awaitEcho(t, r.client, "/other/post", "other")
			assert.Equal(t, other, strictly(t, r.client, "other"))
			now := strictly(t, r.client, "a")
			assert.NotContains(t, []int{a.PID, other.PID}, now.PID)
			assert.Equal(t, a.Sandbox.UID, now.Sandbox.UID)
			await(t, changeTimeout, "the end of the runner that hides", func() error { return ended(a.PID) })
			assert.Len(t, r.runners(), 2, "one runner a stream")
			r.stop(t)
		})
	}
}

// tamperedFiles are what a stream can put in the place of a file of its own. Each
// is made with the path of a file of the host that it must not show.
var tamperedFiles = map[string]func(canary, path string) error{
	"link":         os.Symlink,
	"another name": os.Link,
	"pipe":         func(_, path string) error { return syscall.Mkfifo(path, 0o600) },
	"folder":       func(_, path string) error { return os.Mkdir(path, 0o700) },
	"link to a folder": func(canary, path string) error {
		return os.Symlink(filepath.Dir(canary), path)
	},
	"device": func(_, path string) error { return syscall.Mknod(path, syscall.S_IFCHR|0o600, 1<<8|9) },
	"socket": func(_, path string) error { return syscall.Mknod(path, syscall.S_IFSOCK|0o600, 0) },
}

// TestStrictTamperedFiles: whatever a stream puts in the place of its logs and
// its last words, the server shows nothing of the host's files, changes none of
// them, and waits for nothing.
func TestStrictTamperedFiles(t *testing.T) {
	t.Parallel()
	p, _ := startStrict(t)
	const secret = "c4nary-content"
	canary := writeFile(t, "canary", secret+"\npanic: "+secret+"\n\n{\"reason\":\"finished\",\"error\":\""+secret+"\"}\n")
	before := readText(t, canary)
	p.expect(t, 200, "POST", "/streams/other", echo("other"))
	t.Run("each", func(t *testing.T) {
		for name, make := range tamperedFiles {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				v := &tamperer{p: p, id: strings.ReplaceAll(name, " ", "_"), secret: secret}
				v.run(t, func(path string) error { return make(canary, path) })
			})
		}
	})
	assert.Zero(t, ownerOf(t, canary))
	assert.Equal(t, before, readText(t, canary))
	assert.NotContains(t, readText(t, p.LogFile), secret)
	assert.Zero(t, mustStatus(t, p.client, "other").Restarts)
}

// tamperer is a stream that puts something in the place of its files.
type tamperer struct {
	p          *penstock
	id, secret string
}

func (v *tamperer) run(t *testing.T, make func(path string) error) {
	path := "/streams/" + v.id
	v.p.expect(t, 200, "POST", path, echo(v.id))
	s := strictly(t, v.p.client, v.id)
	folder, run := filepath.Dir(streamFolder(v.p.DataDir, v.id)), runFolder(t, v.p.DataDir, s.PID)
	for _, file := range []string{
		filepath.Join(folder, "stream.log"), filepath.Join(folder, "output.log"),
		filepath.Join(folder, "stream-2026-01-02T03-04-05.000.log"), filepath.Join(run, "stderr.log"), filepath.Join(run, "exit.json"),
	} {
		if absent(file) {
			require.NoError(t, os.WriteFile(file, nil, 0o600))
			require.NoError(t, os.Chown(file, int(s.Sandbox.UID), int(s.Sandbox.UID)))
		}
		impostor(t, file, make)
	}
	v.look(t)
	// It dies, and its last words are asked for.
	require.NoError(t, syscall.Kill(s.PID, syscall.SIGKILL))
	quick(t, "its restart", func() { awaitPID(t, v.p.client, v.id, s.PID) })
	v.look(t)
	assert.Equal(t, "signaled", mustStatus(t, v.p.client, v.id).LastExit.Reason)
	quick(t, "its end", func() { v.p.expect(t, 200, "DELETE", path+"?timeout=1s", "") })
	assert.NoDirExists(t, folder)
}

// look asks for all that the server may have of the stream's files.
func (v *tamperer) look(t *testing.T) {
	for _, path := range []string{"/logs", "/logs?tail=10", "/logs?source=output", "/status", "/stats"} {
		quick(t, path, func() {
			a := v.p.call(t, "GET", "/streams/"+v.id+path, "")
			assert.NotContains(t, string(a.Body), v.secret, path)
		})
	}
	// A log that is followed does not end, and begins with what there is.
	ctx, cancel := context.WithTimeout(t.Context(), margin/2)
	defer cancel()
	a, err := v.p.ask(ctx, request{Method: http.MethodGet, Path: "/streams/" + v.id + "/logs?follow=true"})
	if !errors.Is(err, context.DeadlineExceeded) {
		require.NoError(t, err)
	}
	assert.NotContains(t, string(a.Body), v.secret)
	quick(t, "another stream's request", func() { awaitEcho(t, v.p.client, "/other/post", "other") })
}

// quick has something done that may not wait for a stream.
func quick(t *testing.T, what string, do func()) {
	t.Helper()
	assert.Less(t, timed(do), 5*margin, what)
}

// TestStrictTamperedFolder: a link in the place of a stream's data folder leads
// nowhere: neither is what it names given to the stream's user, nor can the
// stream see it.
func TestStrictTamperedFolder(t *testing.T) {
	t.Parallel()
	p, _ := startStrict(t, readerArgs...)
	dir := t.TempDir()
	canary := filepath.Join(dir, "canary")
	require.NoError(t, os.WriteFile(canary, []byte("c4nary-content"), 0o600))
	p.expect(t, 200, "POST", "/streams/other", readerYAML)
	for _, target := range []string{dir, streamFolder(p.DataDir, "other"), "/nowhere"} {
		p.expect(t, 200, "POST", "/streams/a", readerYAML)
		impostor(t, streamFolder(p.DataDir, "a"), func(path string) error { return os.Symlink(target, path) })
		owner := func() string {
			if absent(target) {
				return "absent"
			}
			return fmt.Sprint(ownerOf(t, target))
		}
		before := owner()
		// It may run or not: it has brought that on itself.
		a := p.call(t, "POST", "/streams/a/restart", "")
		t.Logf("with a link to %s the restart is answered %s", target, a)
		if a.Status == 200 {
			for _, path := range []string{"canary", canary, filepath.Join(target, "canary")} {
				assert.NotContains(t, p.call(t, "POST", "/a/post", path).Text(), "c4nary", target)
			}
		}
		assert.Equal(t, before, owner(), target)
		assert.Zero(t, ownerOf(t, canary))
		p.expect(t, 200, "DELETE", "/streams/a", "")
		assert.Equal(t, before, owner(), target)
		assert.FileExists(t, canary)
	}
	assert.Zero(t, mustStatus(t, p.client, "other").Restarts)
}
