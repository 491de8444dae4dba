package options

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

const (
	// maxPaths bounds each list of paths: each is mounted at every start.
	maxPaths = 64
	// maxPath is the kernel's longest path, without its final zero.
	maxPath = 4095
)

// kernelFolders hold what no stream is given from outside: other processes,
// the kernel's settings, devices. A sandbox has its own.
var kernelFolders = []string{"/proc", "/sys", "/dev"}

// CheckPath says why a path can not be given to a stream: it has to be
// absolute, without "..", doubled or trailing slashes, not the root, and not
// the kernel's. It does not look at the file system.
func CheckPath(p string) error {
	switch {
	case strings.ContainsRune(p, 0):
		return fmt.Errorf("%s holds a zero byte: remove it", printable(p))
	case len(p) > maxPath:
		return fmt.Errorf("%s is longer than %d bytes, which no path is", printable(p), maxPath)
	case !path.IsAbs(p):
		return fmt.Errorf("%s is not an absolute path: start it with a slash", printable(p))
	case path.Clean(p) != p:
		return fmt.Errorf("%s is not a clean path: write %s", printable(p), printable(path.Clean(p)))
	case p == "/":
		return errors.New("/ is everything: name the folders that are needed")
	}
	for _, folder := range kernelFolders {
		if Below(p, folder) {
			return fmt.Errorf("%s cannot be given, since a stream has a %s of its own: remove it", printable(p), folder)
		}
	}
	return nil
}

// Below says whether a clean path is the folder or below it, by its text: it
// follows no links.
func Below(p, folder string) bool {
	return p == folder || strings.HasPrefix(p, strings.TrimSuffix(folder, "/")+"/")
}

func (d *decoder) sandbox(n *yaml.Node, s *Sandbox, allowed Allowed) {
	d.object(n, "sandbox", []field{
		{"read", func(n *yaml.Node) { s.Read = d.paths(n, "read", allowed.Read, allowed.RestrictPaths) }},
		{"write", func(n *yaml.Node) { s.Write = d.paths(n, "write", allowed.Write, allowed.RestrictPaths) }},
	})
}

// paths reads a list of paths, which are all below a permitted one if that is
// asked for.
func (d *decoder) paths(n *yaml.Node, name string, permitted []string, restricted bool) []string {
	switch {
	case isNull(n):
		return nil
	case hasVariable(n):
		d.variable(n, "field "+name)
		return nil
	case n.Kind != yaml.SequenceNode:
		d.wrongType(n, name, "array")
		return nil
	}
	var paths []string
	for i, item := range n.Content {
		if i == maxPaths {
			d.lint(item, "field %s: expected at most %d paths: name folders that hold several", name, maxPaths)
			return nil
		}
		if !d.scalar(item, name, "string", "!!str") {
			continue
		}
		p := item.Value
		within := func(folder string) bool { return Below(p, folder) }
		switch err := CheckPath(p); {
		case err != nil:
			d.lint(item, "field %s: %s", name, err)
		case !restricted || slices.ContainsFunc(permitted, within):
			paths = append(paths, p)
		case len(permitted) == 0:
			d.lint(item, "field %s: %s is not permitted, and on this server no path is: ask its operator", name, printable(p))
		default:
			d.lint(item, "field %s: %s is not permitted, only what is in %s: ask this server's operator", name, printable(p), shortList(permitted))
		}
	}
	return paths
}

// shortList keeps a message that lists many paths short.
func shortList(paths []string) string {
	const most = 8
	shown := []string{}
	for _, p := range paths[:min(most, len(paths))] {
		shown = append(shown, printable(p))
	}
	if more := len(paths) - most; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(shown, ", "), more)
	}
	return list(shown, "or")
}
