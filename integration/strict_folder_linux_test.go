package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// ownerOf tells whose a file is.
func ownerOf(t testing.TB, path string) uint32 {
	t.Helper()
	var stat syscall.Stat_t
	require.NoError(t, syscall.Lstat(path, &stat), path)
	return stat.Uid
}

// TestStrictFolder: a stream has a folder of its own, which is where it works and
// what ${PENSTOCK_STREAM_DIR} names. What it keeps there stays until it is
// deleted, and no other stream sees it.
func TestStrictFolder(t *testing.T) {
	t.Parallel()
	p, _ := startStrict(t, readerArgs...)
	mine := streamFolder(p.DataDir, "mine")
	both := "input: {http_server: {path: /post}}\n" +
		"output: {broker: {outputs: [{file: {path: here, codec: lines}}, {file: {path: '${PENSTOCK_STREAM_DIR}/sub/there', codec: lines}}]}}\n"
	p.expect(t, 200, "POST", "/streams/mine", both)
	p.expect(t, 200, "POST", "/streams/other", readerYAML)
	p.expect(t, 200, "POST", "/mine/post", "one")
	kept := func(lines string) {
		t.Helper()
		for _, name := range []string{"here", "sub/there"} {
			assert.Equal(t, lines, readText(t, filepath.Join(mine, name)))
			assert.Equal(t, strictly(t, p.client, "mine").Sandbox.UID, ownerOf(t, filepath.Join(mine, name)))
		}
	}
	kept("one\n")
	p.expect(t, 200, "POST", "/streams/mine/restart", "")
	p.expect(t, 200, "POST", "/mine/post", "two")
	kept("one\ntwo\n")
	pid := strictly(t, p.client, "mine").PID
	require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
	awaitPID(t, p.client, "mine", pid)
	p.expect(t, 200, "POST", "/mine/post", "three")
	kept("one\ntwo\nthree\n")

	for _, path := range []string{
		filepath.Join(mine, "here"), "../../mine/data/here", "/proc/1/root" + mine + "/here", "/proc/self/cwd/../../mine/data/here",
		filepath.Join(p.DataDir, "streams", "mine", "stream.log"), stateFile(p.DataDir), filepath.Join(p.DataDir, "lock"),
	} {
		assert.Regexp(t, "^failed: .*(no such file or directory|permission denied)",
			p.expect(t, 200, "POST", "/other/post", path).Text(), path)
	}
	// Even if it were shown the file, that is another user's.
	require.NotEqual(t, strictly(t, p.client, "mine").Sandbox.UID, strictly(t, p.client, "other").Sandbox.UID)
	for _, dir := range []string{mine, filepath.Dir(mine), streamFolder(p.DataDir, "other")} {
		info, err := os.Stat(dir)
		require.NoError(t, err)
		assert.Zero(t, info.Mode().Perm()&0o077, "%s: %s", dir, info.Mode())
	}

	// It reads what is its own.
	p.expect(t, 200, "PUT", "/streams/mine", readerYAML)
	for _, path := range []string{"here", "./sub/there", filepath.Join(mine, "here")} {
		assert.Equal(t, "one\ntwo\nthree", p.expect(t, 200, "POST", "/mine/post", path).Text(), path)
	}
	p.expect(t, 200, "DELETE", "/streams/mine", "")
	assert.NoDirExists(t, filepath.Dir(mine))
	p.expect(t, 200, "POST", "/streams/mine", readerYAML)
	assert.Contains(t, p.expect(t, 200, "POST", "/mine/post", "here").Text(), "no such file or directory")
}

// TestStrictTemporaryFolder: each stream has a /tmp of its own, of a bounded
// size, which goes with its runner.
func TestStrictTemporaryFolder(t *testing.T) {
	t.Parallel()
	p, _ := startStrict(t, append(readerArgs, "--set", "isolation.tmp_size=1MiB")...)
	host := writeFile(t, "host", "the host's own")
	p.expect(t, 200, "POST", "/streams/a", keeperYAML("/tmp/kept"))
	p.expect(t, 200, "POST", "/streams/b", readerYAML)
	p.expect(t, 200, "POST", "/a/post", "x")
	p.expect(t, 200, "POST", "/a/post", echoOfSize("large", 512<<10))
	for _, path := range []string{"/tmp/kept", host} {
		assert.Contains(t, p.expect(t, 200, "POST", "/b/post", path).Text(), "no such file or directory", path)
	}
	full := p.call(t, "POST", "/a/post", echoOfSize("too large", 1<<20))
	assert.GreaterOrEqual(t, full.Status, 400, "%s", full)
	assert.NoFileExists(t, "/tmp/kept", "it is the host's")
	p.expect(t, 200, "PUT", "/streams/a", readerYAML)
	assert.Contains(t, p.expect(t, 200, "POST", "/a/post", "/tmp/kept").Text(), "no such file or directory")
}

// TestStrictProfileChanges: a server with another profile than the last one
// replaces the runners, and the streams find their files.
func TestStrictProfileChanges(t *testing.T) {
	t.Parallel()
	r, n := newStrictRestartable(t)
	const note = "${PENSTOCK_STREAM_DIR}/note"
	r.start(t, strictArgs(readerArgs...)...)
	r.expect(t, 200, "POST", "/streams/keeper", keeperYAML(note))
	r.expect(t, 200, "POST", "/keeper/post", "strict")
	file := filepath.Join(streamFolder(r.DataDir, "keeper"), "note")
	said := "strict\n"
	last := strictly(t, r.client, "keeper")
	strictUser := last.Sandbox.UID
	for _, profile := range []string{"standard", "strict", "none", "strict", "standard"} {
		r.kill9(t)
		r.start(t, append(readerArgs, "--isolation", profile)...)
		awaitState(t, r.client, "keeper", "running")
		now := strictly(t, r.client, "keeper")
		assert.NotEqual(t, last.PID, now.PID, profile)
		await(t, changeTimeout, "the end of the former runner", func() error { return ended(last.PID) })
		assert.Equal(t, map[string]float64{"outdated": 1}, positive(r.adoptions(t)), profile)
		assert.Equal(t, profile, now.Isolation.Profile)
		if profile == "strict" {
			assertConfined(t, now)
			assert.Equal(t, strictUser, now.Sandbox.UID, "it has its user again")
			assert.Len(t, n.tables(), 1)
		} else {
			assert.Zero(t, now.Sandbox.UID)
			await(t, changeTimeout, "the end of the rules, which nobody needs any more", func() error {
				if left := n.tables(); len(left) > 0 {
					return fmt.Errorf("there are %v", left)
				}
				return nil
			})
		}
		assert.Equal(t, now.Sandbox.UID, ownerOf(t, file), profile)
		assert.Equal(t, now.Sandbox.UID, ownerOf(t, filepath.Dir(file)), profile)
		said += profile + "\n"
		r.expect(t, 200, "POST", "/keeper/post", profile)
		assert.Equal(t, said, readText(t, file))
		last = now
	}
	r.stop(t)
	assert.Empty(t, r.runners(), "processes that outlived their supervisor")
}
