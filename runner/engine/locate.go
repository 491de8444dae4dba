package engine

import (
	"cmp"
	"regexp"
	"strings"

	"github.com/redpanda-data/benthos/v4/public/service"
	"gopkg.in/yaml.v3"

	"penstock/rpc"
)

var (
	// deniedComponent is the lint of a component that cannot be constructed.
	deniedComponent = regexp.MustCompile(`^component type (\S+)` + regexp.QuoteMeta(deniedText) + `.*\(isolation\.components\.(\w+)\.allow\)$`)
	// unknownPlugin is the lint of a function or method that does not exist
	// in the environment for linting.
	unknownPlugin = regexp.MustCompile(`unrecognised (function|method) '(\w+)'`)
)

// denialOf tells which denial a lint of the engine's is about.
func (l *linter) denialOf(found service.Lint) (denial, bool) {
	if m := deniedComponent.FindStringSubmatch(found.What); m != nil {
		return denial{m[2], m[1]}, true
	}
	if found.Type != service.LintBadBloblang {
		return denial{}, false
	}
	if m := unknownPlugin.FindStringSubmatch(found.What); m != nil {
		d := denial{rpc.ClassFunctions, m[2]}
		if m[1] == "method" {
			d.class = rpc.ClassMethods
		}
		return d, denied(l.req.Policy, d.class, d.name)
	}
	d := denial{rpc.ClassFunctions, importName}
	return d, strings.Contains(found.What, d.Error())
}

// document is a text to find denied names in. The engine gives the line at which
// a component's config begins, and for a function where its call ends; of a
// text whose variables are resolved, which can have other lines.
type document struct {
	text []byte
	// lines and keys are made when they are first needed.
	lines []string
	keys  map[keyAt]*yaml.Node
}

// keyAt is a key by its name and the line at which its value begins.
type keyAt struct {
	name string
	line int
}

// locate finds the name of what is denied. Where it is not found the engine's
// position stands.
func (doc *document) locate(found service.Lint, d denial) (line, column int) {
	switch {
	case d.class != rpc.ClassFunctions && d.class != rpc.ClassMethods:
		return doc.locateKey(found, d.name)
	case d.name == importName:
		return doc.locateWord(found, "import|from")
	}
	return doc.locateWord(found, regexp.QuoteMeta(d.name))
}

// locateWord finds the last word before the lint's position, else the first on
// its line.
func (doc *document) locateWord(found service.Lint, word string) (line, column int) {
	if doc.lines == nil {
		doc.lines = strings.Split(string(doc.text), "\n")
	}
	if found.Line < 1 || found.Line > len(doc.lines) {
		return found.Line, found.Column
	}
	for _, at := range regexp.MustCompile(`\b(`+word+`)\b`).FindAllStringIndex(doc.lines[found.Line-1], -1) {
		if column == 0 || at[0] < found.Column {
			column = at[0] + 1
		}
	}
	return found.Line, cmp.Or(column, found.Column)
}

// locateKey finds the first key of that name whose value begins on the lint's
// line.
func (doc *document) locateKey(found service.Lint, name string) (line, column int) {
	if doc.keys == nil {
		doc.keys = map[keyAt]*yaml.Node{}
		var root yaml.Node
		if yaml.Unmarshal(doc.text, &root) == nil {
			doc.addKeys(&root)
		}
	}
	if key := doc.keys[keyAt{name, found.Line}]; key != nil {
		return key.Line, key.Column
	}
	return found.Line, found.Column
}

func (doc *document) addKeys(node *yaml.Node) {
	for i, child := range node.Content {
		if node.Kind == yaml.MappingNode && i%2 == 1 {
			at := keyAt{node.Content[i-1].Value, child.Line}
			if child.Style == yaml.LiteralStyle {
				// The engine points at the text of a literal block.
				at.line++
			}
			if doc.keys[at] == nil {
				doc.keys[at] = node.Content[i-1]
			}
		}
		doc.addKeys(child)
	}
}
