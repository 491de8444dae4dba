package options

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// maxEnv bounds the names and values of a stream's variables together. The
// kernel takes more of a new process, but not without end.
const maxEnv = 64 * kibibyte

var envName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// What these variables do to a runner is the supervisor's alone: how it finds
// its supervisor, what its runtime may take, which code is loaded into it.
var (
	reservedEnv         = []string{"GODEBUG", "GOGC", "GOMAXPROCS", "GOMEMLIMIT", "GOTRACEBACK"}
	reservedEnvPrefixes = []string{"PENSTOCK_", "PLUGIN_", "LD_"}
)

// CheckEnvName says why a variable of this name can not be given to a stream.
// Names are letters, digits and underscores, and do not start with a digit;
// some are the server's own.
func CheckEnvName(name string) error {
	switch {
	case !envName.MatchString(name):
		return fmt.Errorf("%s is not the name of a variable: it takes letters, digits and underscores, and no digit first", printable(name))
	case slices.Contains(reservedEnv, name) || slices.ContainsFunc(reservedEnvPrefixes, func(p string) bool { return strings.HasPrefix(name, p) }):
		return fmt.Errorf("%s is a variable of the server's own: take another name than %s, and none that starts with %s",
			printable(name), list(reservedEnv, "or"), list(reservedEnvPrefixes, "or"))
	}
	return nil
}

// env reads the variables, of which each name is a field.
func (d *decoder) env(n *yaml.Node) map[string]string {
	env := map[string]string{}
	var size Bytes
	d.entries(n, "env", func(key, value *yaml.Node) {
		if hasVariable(key) {
			d.variable(key, "a field of env")
			return
		}
		if err := CheckEnvName(key.Value); err != nil {
			d.lint(key, "field env: %s", err)
			return
		}
		if value.Kind == yaml.ScalarNode && !isNull(value) && !hasVariable(value) && value.ShortTag() != "!!str" {
			d.lint(value, "field %s: expected string, got %s: put it in quotes", printable(key.Value), typeOf(value))
			return
		}
		if !d.scalar(value, printable(key.Value), "string", "!!str") {
			return
		}
		if strings.ContainsRune(value.Value, 0) {
			d.lint(value, "field %s: a variable cannot hold a zero byte: remove it", printable(key.Value))
			return
		}
		before := size
		size += Bytes(len(key.Value) + len(value.Value))
		if size > maxEnv && before <= maxEnv {
			d.lint(key, "field env: the names and values up to here are longer than %s together: make them shorter", maxEnv)
		}
		env[key.Value] = value.Value
	})
	if len(env) == 0 {
		return nil
	}
	return env
}
