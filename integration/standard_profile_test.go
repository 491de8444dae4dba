package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// standardServers start a server as it is by default, as its users do.
var standardServers = map[string]func(t *testing.T, args ...string) *penstock{
	"the tests' own user": func(t *testing.T, args ...string) *penstock { return startPenstock(t, args...) },
	"without privileges":  startUnprivileged,
}

// linesYAML is the documented example that copies a file line by line.
func linesYAML(from, to string) string {
	return fmt.Sprintf(`
input: {file: {paths: ['%s'], scanner: {lines: {}}}}
pipeline: {processors: [{mapping: 'root = this.merge({"seen": true})'}]}
output: {file: {path: '%s', codec: lines}}
`, from, to)
}

// TestStandardFiles: streams of a server with its defaults read and write the
// files of its user where they are, as the documented examples do.
func TestStandardFiles(t *testing.T) {
	t.Parallel()
	for name, start := range standardServers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := start(t)
			// Not t.TempDir, which is the tests' own user's.
			dir, err := os.MkdirTemp("", "penstock-files-")
			require.NoError(t, err)
			t.Cleanup(func() { assert.NoError(t, os.RemoveAll(dir)) })
			require.NoError(t, os.Chmod(dir, 0o777))
			from, to := filepath.Join(dir, "input.ndjson"), filepath.Join(dir, "output.ndjson")
			if path := "/tmp/input.ndjson"; name == "without privileges" && absent(path) && absent("/tmp/output.ndjson") {
				// To the letter, where that is nobody's.
				from, to = path, "/tmp/output.ndjson"
				t.Cleanup(func() { _, _ = os.Remove(from), os.Remove(to) })
			}
			require.NoError(t, os.WriteFile(from, []byte("{\"a\":1}\n{\"a\":2}\n"), 0o644))
			p.expect(t, 200, "POST", "/streams/copy", linesYAML(from, to))
			awaitState(t, p.client, "copy", "finished")
			// Its threads write in any order.
			assert.ElementsMatch(t, []string{`{"a":1,"seen":true}`, `{"a":2,"seen":true}`, ""}, strings.Split(readText(t, to), "\n"))
		})
	}
}

func absent(path string) bool {
	_, err := os.Lstat(path)
	return os.IsNotExist(err)
}

// TestStandardLayers: by default a runner is of the server's own user and sees
// its files, and has none of its privileges.
func TestStandardLayers(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("only Linux has these layers")
	}
	for name, start := range standardServers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := start(t)
			p.expect(t, 200, "POST", "/streams/a", echo("a"))
			var s struct {
				PID       int
				Isolation struct {
					Profile string
					Sandbox map[string]any
				}
			}
			p.getJSON(t, "/streams/a/status", &s)
			kernel := statusLines(t, s.PID)
			server := statusLines(t, p.PID)
			assert.Equal(t, server["Uid"], kernel["Uid"])
			assert.Equal(t, server["Gid"], kernel["Gid"])
			assert.Equal(t, server["Groups"], kernel["Groups"])
			assert.Equal(t, "1", kernel["NoNewPrivs"])
			assert.Equal(t, "2", kernel["Seccomp"])
			for _, set := range []string{"CapInh", "CapPrm", "CapEff", "CapAmb"} {
				assert.Equal(t, "0000000000000000", kernel[set], set)
			}
			if strings.HasPrefix(server["Uid"], "0\t") {
				assert.Equal(t, "0000000000000000", kernel["CapBnd"])
			}
			own := []any{}
			for _, kind := range []string{"mnt", "pid", "ipc", "uts", "net", "user"} {
				theirs, err := os.Readlink(procFile(s.PID, "ns/"+kind))
				require.NoError(t, err)
				ours, err := os.Readlink(procFile(p.PID, "ns/"+kind))
				require.NoError(t, err)
				if theirs != ours {
					own = append(own, kind)
				}
			}
			if len(own) > 0 {
				// It sees the server's files there, and cannot write the kernel's
				// settings, whatever their mode.
				assert.Equal(t, []any{"mnt"}, own)
				assert.Regexp(t, `(?m)^\d+ \d+ \S+ \S+ /sys ro[, ]`, readText(t, procFile(s.PID, "mountinfo")))
				assert.Regexp(t, `(?m)^\d+ \d+ \S+ \S+ /proc/sys ro[, ]`, readText(t, procFile(s.PID, "mountinfo")))
			}
			assert.Equal(t, "standard", s.Isolation.Profile)
			uid, gid := strings.Fields(server["Uid"])[1], strings.Fields(server["Gid"])[1]
			assert.Equal(t, uid, fmt.Sprint(s.Isolation.Sandbox["uid"]))
			assert.Equal(t, gid, fmt.Sprint(s.Isolation.Sandbox["gid"]))
			delete(s.Isolation.Sandbox, "uid")
			delete(s.Isolation.Sandbox, "gid")
			assert.Equal(t, map[string]any{
				"capabilities": false, "no_new_privs": true, "seccomp": true, "namespaces": own, "private_root": false,
				"landlock_abi": 0.0, "egress": false, "exec": true, "component_policy": false,
			}, s.Isolation.Sandbox)
			for _, file := range links(s.PID) {
				assert.NotContains(t, file, p.DataDir+"/state.db")
				assert.NotContains(t, file, p.DataDir+"/lock")
			}
			// It works where the server does.
			theirs, err := os.Readlink(procFile(s.PID, "cwd"))
			require.NoError(t, err)
			ours, err := os.Readlink(procFile(p.PID, "cwd"))
			require.NoError(t, err)
			assert.Equal(t, ours, theirs)
		})
	}
}

// statusLines reads what the kernel says of a process, line by line.
func statusLines(t *testing.T, pid int) map[string]string {
	t.Helper()
	lines := map[string]string{}
	for line := range strings.Lines(readText(t, procFile(pid, "status"))) {
		name, value, _ := strings.Cut(line, ":")
		lines[name] = strings.TrimSpace(value)
	}
	return lines
}

// TestStandardPrograms: by default streams may start programs, and read files
// in their mappings.
func TestStandardPrograms(t *testing.T) {
	t.Parallel()
	for name, start := range standardServers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := start(t)
			file, err := os.CreateTemp("", "penstock-file-")
			require.NoError(t, err)
			t.Cleanup(func() { assert.NoError(t, os.Remove(file.Name())) })
			_, err = file.WriteString("HELLO")
			require.NoError(t, err)
			require.NoError(t, file.Chmod(0o644))
			require.NoError(t, file.Close())
			for id, processor := range map[string]string{
				"command":    `{command: {name: tr, args_mapping: 'root = ["a-z", "A-Z"]'}}`,
				"subprocess": `{subprocess: {name: cat}}, {mapping: 'root = content().uppercase()'}`,
				"file":       `{mapping: 'root = file("` + file.Name() + `")'}`,
				"shell":      `{command: {name: sh, args_mapping: 'root = ["-c", "tr a-z A-Z"]'}}`,
			} {
				config := "input: {http_server: {path: /post}}\npipeline: {processors: [" + processor + "]}\noutput: {sync_response: {}}\n"
				p.expect(t, 200, "POST", "/streams/"+id, config)
				assert.Equal(t, "HELLO", p.expect(t, 200, "POST", "/"+id+"/post", "hello").Text(), id)
			}
		})
	}
}

// TestStandardComponents: an operator denies components by default as well, by
// name or all but a few.
func TestStandardComponents(t *testing.T) {
	t.Parallel()
	p := startPenstock(t,
		"--set", "isolation.components.inputs.deny=[file, csv]",
		"--set", "isolation.components.outputs.deny=['*']", "--set", "isolation.components.outputs.allow=[sync_response, drop]",
		"--set", "isolation.components.processors.deny=['*']", "--set", "isolation.components.processors.allow=[mapping, command]",
		"--set", "isolation.components.functions.deny=[hostname]", "--set", "isolation.components.methods.deny=[uppercase]",
		"--set", "isolation.components.caches.deny=['*']")
	stream := func(input, processor, output string) string {
		return fmt.Sprintf("input: {%s}\npipeline: {processors: [{%s}]}\noutput: {%s}\n", input, processor, output)
	}
	const in, mapping, out = "http_server: {path: /post}", "mapping: 'root = content()'", "sync_response: {}"
	for _, c := range []struct{ config, lint string }{
		{stream("file: {paths: [/nowhere]}", mapping, out), "(1,9) component type file is denied by this server's policy: ask its operator to allow it (isolation.components.inputs.allow)"},
		{stream(in, "log: {message: x}", out), "(2,26) component type log is denied by this server's policy: ask its operator to allow it (isolation.components.processors.allow)"},
		{stream(in, mapping, "http_client: {url: 'http://127.0.0.1'}"), "(3,10) component type http_client is denied by this server's policy: ask its operator to allow it (isolation.components.outputs.allow)"},
		{stream(in, "mapping: 'root = hostname()'", out), "function hostname is denied by this server's policy: ask its operator to allow it (isolation.components.functions.allow)"},
		{stream(in, "mapping: 'root = content().uppercase()'", out), "method uppercase is denied by this server's policy: ask its operator to allow it (isolation.components.methods.allow)"},
	} {
		assertLint(t, c.lint, p.expect(t, 400, "POST", "/streams/a", c.config))
		assertLint(t, c.lint, p.expect(t, 400, "POST", "/streams/a?chilled=true", c.config))
	}
	assertLint(t, "component type memory is denied by this server's policy", p.expect(t, 400, "POST", "/resources/cache/c", "memory: {}"))
	p.expect(t, 200, "POST", "/streams/a", stream(in, mapping, out))
	assert.Equal(t, "x", p.expect(t, 200, "POST", "/a/post", "x").Text())
	p.expect(t, 200, "PUT", "/streams/a", stream(in, "command: {name: cat}", out))
	assert.Equal(t, "x", p.expect(t, 200, "POST", "/a/post", "x").Text())
	var s struct {
		Isolation struct {
			Sandbox struct {
				ComponentPolicy bool `json:"component_policy"`
			}
		}
	}
	p.getJSON(t, "/streams/a/status", &s)
	assert.True(t, s.Isolation.Sandbox.ComponentPolicy)
}
