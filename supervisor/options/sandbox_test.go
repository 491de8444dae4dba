package options_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"penstock/supervisor/options"
)

func TestEnv(t *testing.T) {
	got, lints := parsed(t, `runtime:
  env:
    REGION: eu
    _x9: "8080"
    empty: ""
    NO: |
      two
      lines
`)
	assert.Empty(t, lints)
	assert.Equal(t, map[string]string{"REGION": "eu", "_x9": "8080", "empty": "", "NO": "two\nlines\n"}, got.Env)
}

const noName = "is not the name of a variable: it takes letters, digits and underscores, and no digit first"

func TestLintsOfEnv(t *testing.T) {
	const own = "is a variable of the server's own: take another name than GODEBUG, GOGC, GOMAXPROCS, GOMEMLIMIT or GOTRACEBACK, " +
		"and none that starts with PENSTOCK_, PLUGIN_ or LD_"
	for _, c := range []struct{ name, text, want string }{
		{"a list", "runtime: {env: [A=b]}", "1:16 field env: expected object, got array"},
		{"a variable", "runtime: {env: '${E}'}", "1:16 field env: ${E} " + variable},
		{"a digit first", "runtime: {env: {1A: x}}", "1:17 field env: 1A " + noName},
		{"a hyphen", "runtime:\n  env:\n    A-B: x", "3:5 field env: A-B " + noName},
		{"no name", "runtime: {env: {'': x}}", "1:17 field env: \"\" " + noName},
		{"an equals sign", "runtime: {env: {\"A=\\nB\": x}}", "1:17 field env: A=\ufffdB " + noName},
		{"a final line break", "runtime: {env: {\"A\\n\": x}}", "1:17 field env: A\ufffd " + noName},
		{"a letter of another script", "runtime: {env: {\u00c4: x}}", "1:17 field env: \u00c4 " + noName},
		{"a key that is a list", "runtime: {env: {[A]: x}}", "1:17 field env: \"\" " + noName},
		{"a key with a variable", "runtime: {env: {'A${B}': x}}", "1:17 a field of env: A${B} " + variable},
		{"of the Go runtime", "runtime: {env: {GOMEMLIMIT: 1GiB}}", "1:17 field env: GOMEMLIMIT " + own},
		{"of the supervisor", "runtime: {env: {PENSTOCK_RUNNER: x}}", "1:17 field env: PENSTOCK_RUNNER " + own},
		{"of go-plugin", "runtime: {env: {PLUGIN_UNIX_SOCKET_DIR: x}}", "1:17 field env: PLUGIN_UNIX_SOCKET_DIR " + own},
		{"of the dynamic linker", "runtime: {env: {LD_PRELOAD: x}}", "1:17 field env: LD_PRELOAD " + own},
		{"value, a number", "runtime: {env: {PORT: 8080}}", "1:23 field PORT: expected string, got number 8080: put it in quotes"},
		{"value, a boolean", "runtime: {env: {ON: true}}", "1:21 field ON: expected string, got boolean: put it in quotes"},
		{"value, a date", "runtime: {env: {DAY: 2001-01-01}}",
			"1:22 field DAY: expected string, got a value tagged !!timestamp: put it in quotes"},
		{"value, null", "runtime:\n  env:\n    A:\n", "3:7 field A: expected string, got null"},
		{"value, a list", "runtime: {env: {A: [b]}}", "1:20 field A: expected string, got array"},
		{"value with a variable", "runtime: {env: {A: 'x${B:y}'}}", "1:20 field A: x${B:y} " + variable},
		{"value with a zero byte", "runtime: {env: {A: \"a\\0b\"}}", "1:20 field A: a variable cannot hold a zero byte: remove it"},
		{"twice", "runtime:\n  env:\n    A: b\n    A: c\n", "4:5 field A already defined at line 3: remove one"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, lints := parsed(t, c.text)
			assert.Equal(t, []string{c.want}, lints)
		})
	}
}

func TestEnvIsBounded(t *testing.T) {
	text := "runtime:\n  env:\n    A: " + strings.Repeat("x", 40_000) + "\n    B: " + strings.Repeat("x", 25_534)
	_, lints := parsed(t, text)
	assert.Empty(t, lints, "64KiB with the names")
	_, lints = parsed(t, text+"x\n    C: x\n")
	assert.Equal(t, []string{"4:5 field env: the names and values up to here are longer than 64KiB together: make them shorter"}, lints)
}

func TestCheckEnvName(t *testing.T) {
	for _, name := range []string{"HOME", "GOPATH", "LDFLAGS", "penstock_x", "PENSTOCK", "_"} {
		assert.NoError(t, options.CheckEnvName(name), name)
	}
	for _, name := range []string{"", "A B", "GOGC", "PENSTOCK_", "LD_LIBRARY_PATH"} {
		assert.Error(t, options.CheckEnvName(name), name)
	}
}

func TestSandbox(t *testing.T) {
	got, lints := parsed(t, "runtime: {sandbox: {write: [/srv/out], read: [/srv/in, '/a b,c', /procession, /dev.d/x]}}")
	assert.Empty(t, lints)
	assert.Equal(t, options.Sandbox{Read: []string{"/srv/in", "/a b,c", "/procession", "/dev.d/x"}, Write: []string{"/srv/out"}}, got.Sandbox)
}

func TestLintsOfSandbox(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"a word", "runtime: {sandbox: strict}", "1:20 field sandbox: expected object, got string strict"},
		{"unknown", "runtime: {sandbox: {profile: none}}", "1:21 field profile not recognised, sandbox takes read and write"},
		{"mistyped", "runtime: {sandbox: {reads: [/a]}}", "1:21 field reads not recognised, did you mean read?"},
		{"one path", "runtime: {sandbox: {read: /a}}", "1:27 field read: expected array, got string /a"},
		{"an object", "runtime: {sandbox: {read: {/a: /b}}}", "1:27 field read: expected array, got object"},
		{"a variable", "runtime: {sandbox: {read: '${R}'}}", "1:27 field read: ${R} " + variable},
		{"an item with a variable", "runtime:\n  sandbox:\n    read:\n    - /a\n    - /b/${R}\n", "5:7 field read: /b/${R} " + variable},
		{"an item that is a number", "runtime: {sandbox: {read: [1]}}", "1:28 field read: expected string, got number 1"},
		{"an item that is null", "runtime: {sandbox: {read: [~]}}", "1:28 field read: expected string, got null"},
		{"relative", "runtime: {sandbox: {read: [a/b]}}", "1:28 field read: a/b is not an absolute path: start it with a slash"},
		{"empty", "runtime: {sandbox: {read: ['']}}", "1:28 field read: \"\" is not an absolute path: start it with a slash"},
		{"of a home", "runtime: {sandbox: {write: [~/x]}}", "1:29 field write: ~/x is not an absolute path: start it with a slash"},
		{"upwards", "runtime: {sandbox: {read: [/a/../etc]}}", "1:28 field read: /a/../etc is not a clean path: write /etc"},
		{"two slashes", "runtime: {sandbox: {read: [//a]}}", "1:28 field read: //a is not a clean path: write /a"},
		{"everything", "runtime: {sandbox: {read: [/]}}", "1:28 field read: / is everything: name the folders that are needed"},
		{"everything, differently", "runtime: {sandbox: {read: [/..]}}", "1:28 field read: /.. is not a clean path: write /"},
		{"of processes", "runtime: {sandbox: {read: [/proc/1/environ]}}",
			"1:28 field read: /proc/1/environ cannot be given, since a stream has a /proc of its own: remove it"},
		{"of the kernel", "runtime: {sandbox: {write: [/sys]}}",
			"1:29 field write: /sys cannot be given, since a stream has a /sys of its own: remove it"},
		{"a device", "runtime: {sandbox: {write: [/dev/sda]}}",
			"1:29 field write: /dev/sda cannot be given, since a stream has a /dev of its own: remove it"},
		{"a zero byte", "runtime: {sandbox: {read: [\"/a\\0\"]}}", "1:28 field read: /a\ufffd holds a zero byte: remove it"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, lints := parsed(t, c.text)
			assert.Equal(t, []string{c.want}, lints)
		})
	}
}

func TestPathsAreBounded(t *testing.T) {
	items := []string{}
	for i := range 66 {
		items = append(items, fmt.Sprintf("/a/%d", i))
	}
	_, lints := parsed(t, "runtime:\n  sandbox:\n    read: ["+strings.Join(items[:64], ", ")+"]")
	assert.Empty(t, lints)
	_, lints = parsed(t, "runtime:\n  sandbox:\n    read:\n    - "+strings.Join(items, "\n    - "))
	assert.Equal(t, []string{"68:7 field read: expected at most 64 paths: name folders that hold several"}, lints)

	long := "/" + strings.Repeat("x", 4095)
	assert.ErrorContains(t, options.CheckPath(long), "longer than 4095 bytes")
	assert.NoError(t, options.CheckPath(long[:4095]))
}

func TestPathsOfTheOperator(t *testing.T) {
	const text = `runtime:
  sandbox:
    read: [/srv/data, /srv/data/a, /srv/database, /etc/shadow, /srv]
    write: [/srv/out/a, /srv/data/a]
`
	got, lints := allowed(t, text, options.Allowed{Read: []string{"/x"}})
	assert.Empty(t, lints, "without a restriction every path is permitted")
	assert.Len(t, got.Sandbox.Read, 5)

	_, lints = allowed(t, text, options.Allowed{RestrictPaths: true, Read: []string{"/opt/in", "/srv/data"}, Write: []string{"/srv/out"}})
	assert.Equal(t, []string{
		"3:36 field read: /srv/database is not permitted, only what is in /opt/in or /srv/data: ask this server's operator",
		"3:51 field read: /etc/shadow is not permitted, only what is in /opt/in or /srv/data: ask this server's operator",
		"3:64 field read: /srv is not permitted, only what is in /opt/in or /srv/data: ask this server's operator",
		"4:25 field write: /srv/data/a is not permitted, only what is in /srv/out: ask this server's operator",
	}, lints)

	_, lints = allowed(t, "runtime: {sandbox: {write: [/a]}}", options.Allowed{RestrictPaths: true, Read: []string{"/a"}})
	assert.Equal(t, []string{"1:29 field write: /a is not permitted, and on this server no path is: ask its operator"}, lints)

	many := []string{"/1", "/2", "/3", "/4", "/5", "/6", "/7", "/8", "/9", "/10"}
	_, lints = allowed(t, "runtime: {sandbox: {read: [/a]}}", options.Allowed{RestrictPaths: true, Read: many})
	assert.Equal(t, []string{
		"1:28 field read: /a is not permitted, only what is in /1, /2, /3, /4, /5, /6, /7, /8 and 2 more: ask this server's operator"}, lints)
}

func TestBelow(t *testing.T) {
	for _, c := range []struct {
		path, folder string
		want         bool
	}{
		{"/a", "/a", true}, {"/a/b", "/a", true}, {"/ab", "/a", false}, {"/a", "/a/b", false}, {"/a", "/", true},
	} {
		assert.Equal(t, c.want, options.Below(c.path, c.folder), c)
	}
}
