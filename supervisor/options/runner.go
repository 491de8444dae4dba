package options

import (
	"regexp"

	"gopkg.in/yaml.v3"
)

// runnerName is what runners are called.
var runnerName = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,63}$`)

// runner reads the name of a runner. Whether there is one is not known here.
func (d *decoder) runner(n *yaml.Node) string {
	if !d.scalar(n, "runner", "string", "!!str") {
		return ""
	}
	if !runnerName.MatchString(n.Value) {
		d.lint(n, "field runner: %s is no name of a runner: use 1 to 64 of a-z 0-9 _ - and begin with a letter or a digit", printable(n.Value))
		return ""
	}
	return n.Value
}
