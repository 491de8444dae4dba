package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// shared is a folder of the host that an operator may share with streams.
type shared struct {
	dir, read, write, other string
}

func newShared(t *testing.T) shared {
	t.Helper()
	dir, err := os.MkdirTemp("", "penstock-shared-")
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, os.RemoveAll(dir)) })
	s := shared{dir, filepath.Join(dir, "read"), filepath.Join(dir, "write"), filepath.Join(dir, "other")}
	require.NoError(t, os.MkdirAll(filepath.Join(s.read, "below"), 0o755))
	require.NoError(t, os.Chmod(dir, 0o755))
	for _, path := range []string{s.write, s.other} {
		require.NoError(t, os.Mkdir(path, 0o700))
		require.NoError(t, os.Chmod(path, 0o777))
	}
	for _, path := range []string{"read/file", "read/below/file", "write/file", "other/file"} {
		path = filepath.Join(dir, path)
		require.NoError(t, os.WriteFile(path, []byte("content of "+path), 0o644))
	}
	return s
}

// args permit streams to name the folders.
func (s shared) args() []string {
	return append([]string{"--set", "isolation.read=[" + s.read + "]", "--set", "isolation.write=[" + s.write + "]"}, readerArgs...)
}

// TestStrictPaths: of the host's files a stream reads and writes what it names
// and the operator permits, and that is all there is.
func TestStrictPaths(t *testing.T) {
	t.Parallel()
	s := newShared(t)
	p, _ := startStrict(t, s.args()...)
	read := func(id, path string) string {
		t.Helper()
		return p.expect(t, 200, "POST", "/"+id+"/post", path).Text()
	}
	create := func(id, sandbox, config string) {
		t.Helper()
		p.expect(t, 200, "POST", "/streams/"+id, "runtime: {sandbox: {"+sandbox+"}}\n"+config)
	}
	file, below, writable, other := filepath.Join(s.read, "file"), filepath.Join(s.read, "below", "file"), filepath.Join(s.write, "file"), filepath.Join(s.other, "file")

	// What is permitted and not named is not there.
	create("none", "", readerYAML)
	for _, path := range []string{file, below, writable, other} {
		assert.Contains(t, read("none", path), "no such file or directory", path)
	}
	create("all", "read: ["+s.read+"], write: ["+s.write+"]", readerYAML)
	for _, path := range []string{file, below, writable} {
		assert.Equal(t, "content of "+path, read("all", path))
	}
	assert.Contains(t, read("all", other), "no such file or directory")
	create("some", "read: ["+filepath.Dir(below)+"]", readerYAML)
	assert.Equal(t, "content of "+below, read("some", below))
	assert.Contains(t, read("some", file), "no such file or directory", "what is beside what it names")
	create("one", "read: ["+file+"]", readerYAML)
	assert.Equal(t, "content of "+file, read("one", file), "a file alone")
	assert.Contains(t, read("one", below), "no such file or directory")

	create("writes", "write: ["+s.write+"]", keeperYAML(s.write+"/new"))
	p.expect(t, 200, "POST", "/writes/post", "x")
	assert.Equal(t, "x\n", readText(t, filepath.Join(s.write, "new")))
	assert.Equal(t, strictly(t, p.client, "writes").Sandbox.UID, ownerOf(t, filepath.Join(s.write, "new")))
	require.NoError(t, os.Chmod(s.read, 0o777))
	create("readonly", "read: ["+s.read+"]", keeperYAML(s.read+"/new"))
	a := p.call(t, "POST", "/readonly/post", "x")
	assert.GreaterOrEqual(t, a.Status, 400, "%s", a)
	assert.NoFileExists(t, filepath.Join(s.read, "new"))
	assert.Contains(t, p.expect(t, 200, "GET", "/streams/readonly/logs", "").Text(), "read-only file system")

	// A change of what it names is a change of its root.
	p.expect(t, 200, "PATCH", "/streams/none", `{"runtime": {"sandbox": {"read": ["`+file+`"]}}}`)
	assert.Equal(t, "content of "+file, read("none", file))
	p.expect(t, 200, "PUT", "/streams/none", readerYAML)
	assert.Contains(t, read("none", file), "no such file or directory")
}

// TestStrictPathsRefused: what the operator does not permit is refused with its
// place in the config, and nobody reaches it by a link.
func TestStrictPathsRefused(t *testing.T) {
	t.Parallel()
	s := newShared(t)
	p, _ := startStrict(t, s.args()...)
	for sandbox, want := range map[string]string{
		"read: [/etc]":                          "(2,20) field read: /etc is not permitted, only what is in " + s.read,
		"read: [" + s.other + "]":               "(2,20) field read: " + s.other + " is not permitted, only what is in " + s.read,
		"read: [" + s.dir + "]":                 "(2,20) field read: " + s.dir + " is not permitted",
		"read: [" + s.read + "2]":               "(2,20) field read: " + s.read + "2 is not permitted",
		"read: [" + s.write + "]":               "(2,20) field read: " + s.write + " is not permitted, only what is in " + s.read,
		"write: [" + s.read + "]":               "(2,21) field write: " + s.read + " is not permitted, only what is in " + s.write,
		"read: [" + s.read + "/../other]":       "(2,20) field read: " + s.read + "/../other is not a clean path",
		"read: [" + s.read + "], write: [/tmp]": "field write: /tmp is not permitted",
		"read: [/proc]":                         "(2,20) field read: /proc cannot be given",
		"read: [/]":                             "(2,20) field read: / is everything",
		"read: [" + p.DataDir + "]":             "(2,20) field read: " + p.DataDir + " is not permitted",
		"read: ['${HOME}']":                     "(2,20) ",
		"exec: [/usr/bin/env]":                  "field exec not recognised",
	} {
		config := "runtime:\n  sandbox: {" + sandbox + "}\n" + echo("a")
		for _, way := range []struct{ method, path, body string }{
			{"POST", "/streams/a", config}, {"POST", "/streams/a?chilled=true", config}, {"POST", "/streams", "a:\n" + indent(config)},
		} {
			a := p.expect(t, 400, way.method, way.path, way.body)
			said := a.Text()
			if way.path == "/streams" {
				// It is two columns to the right there, and a line further down.
				want = strings.NewReplacer("(2,20)", "(3,22)", "(2,21)", "(3,23)").Replace(want)
			}
			assert.Contains(t, said, want, "%s %s with %s", way.method, way.path, sandbox)
		}
	}
	p.expect(t, 200, "POST", "/streams/a", readerYAML)
	a := p.expect(t, 400, "PATCH", "/streams/a", `{"runtime": {"sandbox": {"read": ["/etc"]}}}`)
	assert.Contains(t, a.Text(), "field read: /etc is not permitted")
	assert.EqualValues(t, 1, mustStatus(t, p.client, "a").Revision)

	// What a tenant can link to it cannot name.
	for _, way := range []string{"read", "write"} {
		dir := map[string]string{"read": s.read, "write": s.write}[way]
		link, gone := filepath.Join(dir, "link"), filepath.Join(dir, "gone")
		require.NoError(t, os.Symlink(s.other, link))
		require.NoError(t, os.Lchown(link, 310000, 310000))
		for path, want := range map[string]string{
			link:           "is a symbolic link of user 310000: only root's are followed",
			link + "/file": "is a symbolic link of user 310000: only root's are followed",
			gone:           "no such file or directory",
		} {
			a := p.call(t, "POST", "/streams/b", fmt.Sprintf("runtime: {sandbox: {%s: [%s]}}\n%s", way, path, readerYAML))
			assert.GreaterOrEqual(t, a.Status, 400, "%s", a)
			assert.Contains(t, a.Text(), want, "%s %s", way, path)
			assert.Contains(t, a.Text(), "sandbox."+way, "the answer names what to mend")
			p.expect(t, 404, "GET", "/streams/b", "")
		}
	}

	// On a server that permits nothing nothing can be named.
	none, _ := startStrict(t)
	a = none.expect(t, 400, "POST", "/streams/a", "runtime: {sandbox: {read: ["+s.read+"]}}\n"+echo("a"))
	assert.Contains(t, a.Text(), "is not permitted, and on this server no path is: ask its operator")
}

// TestStrictPrograms: a stream executes the programs that the operator allows,
// by a component that the operator allows, and no others.
func TestStrictPrograms(t *testing.T) {
	t.Parallel()
	const commandYAML = `
input: {http_server: {path: /post}}
pipeline:
  processors:
    - command: {name: '${! content() }', args_mapping: 'root = ["-u"]'}
    - catch: [{mapping: 'root = "failed: " + error()'}]
output: {sync_response: {}}
`
	allowed := []string{"--set", "isolation.components.processors.allow=[command]"}
	run := func(p *penstock, program string) string {
		t.Helper()
		return p.expect(t, 200, "POST", "/a/post", program).Text()
	}
	t.Run("one program", func(t *testing.T) {
		t.Parallel()
		p, _ := startStrict(t, append(allowed, "--set", "isolation.allow_exec=[/usr/bin/id]")...)
		p.expect(t, 200, "POST", "/streams/a", commandYAML)
		s := strictly(t, p.client, "a")
		assert.True(t, s.Sandbox.Exec)
		assertConfined(t, s)
		for _, program := range []string{"id", "/usr/bin/id"} {
			assert.Equal(t, fmt.Sprint(s.Sandbox.UID), run(p, program))
		}
		own := filepath.Join(streamFolder(p.DataDir, "a"), "id")
		text, err := os.ReadFile("/usr/bin/id")
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(own, text, 0o755))
		require.NoError(t, os.Chmod(own, 0o755))
		// The runner is a program that may be executed, and is of no use so.
		assert.Contains(t, run(p, s.binary(t)), "failed: ")
		for _, program := range []string{"cat", "/usr/bin/cat", "/bin/sh", "./id", own} {
			assert.Regexp(t, "^failed: .*(not found|no such file or directory|permission denied)", run(p, program), program)
		}
	})
	t.Run("none", func(t *testing.T) {
		t.Parallel()
		p, _ := startStrict(t, allowed...)
		p.expect(t, 200, "POST", "/streams/a", commandYAML)
		s := strictly(t, p.client, "a")
		assert.False(t, s.Sandbox.Exec)
		for _, program := range []string{"id", "/usr/bin/id", "/proc/self/exe", s.binary(t)} {
			assert.Regexp(t, "^failed: .*(not found|no such file or directory|permission denied|not permitted)", run(p, program), program)
		}
	})
	t.Run("no component", func(t *testing.T) {
		t.Parallel()
		p, _ := startStrict(t, "--set", "isolation.allow_exec=[/usr/bin/id]")
		a := p.expect(t, 400, "POST", "/streams/a", commandYAML)
		assert.Contains(t, a.Text(), "command is denied by this server's policy")
	})
}

// binary is the path of the program that the runner is.
func (s strictStatus) binary(t *testing.T) string {
	t.Helper()
	path, err := os.Readlink(procFile(s.PID, "exe"))
	require.NoError(t, err)
	return path
}
