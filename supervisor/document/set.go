package document

import (
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// ParseSet reads a mapping of ids to configs, YAML or JSON. Members may share
// anchors; each document stands alone. An empty text is an empty set. The ids
// are not checked. The error is an *Error.
func ParseSet(text []byte) (map[string]*Document, error) {
	text = yamlEscapes(text)
	t, err := read(text)
	if err != nil {
		return nil, err
	}
	if t.root == nil || isNull(t.root) {
		return map[string]*Document{}, nil
	}
	if !isMapping(t.root) {
		return nil, errorAt(t.root.Line, t.root.Column, "a set must be a mapping of ids to configs")
	}
	set := make(map[string]*Document, len(t.root.Content)/2)
	for i := 0; i < len(t.root.Content); i += 2 {
		d, err := t.encode(t.root.Content[i+1], disablesLint(text), here)
		if err != nil {
			return nil, err
		}
		set[t.mask.unmask(t.root.Content[i].Value)] = d
	}
	return set, nil
}

// Resource is one item of a resource file.
type Resource struct {
	// Type is cache, input, output, processor or rate_limit.
	Type string
	// ID is the item's label.
	ID string
	// Doc is the item, its label included.
	Doc *Document
}

const resourceSuffix = "_resources"

// resourceTypes are in the order in which messages name them.
var resourceTypes = []string{"cache", "input", "output", "processor", "rate_limit"}

// ParseResources reads a resource file: a mapping of lists, one for each type
// of resource, whose items carry a label that is unique in the file. A list
// named tests is ignored. Resources come in the order of the file. The error
// is an *Error.
func ParseResources(text []byte) ([]Resource, error) {
	text = yamlEscapes(text)
	t, err := read(text)
	if err != nil {
		return nil, err
	}
	if t.root == nil || isNull(t.root) {
		return nil, nil
	}
	if !isMapping(t.root) {
		return nil, errorAt(t.root.Line, t.root.Column, "a resource file must be a mapping with %s", resourceKeys())
	}
	r := resourceReader{tree: t, noLint: disablesLint(text), lines: map[string]int{}}
	for i := 0; i < len(t.root.Content); i += 2 {
		if err := r.list(t.root.Content[i], t.root.Content[i+1]); err != nil {
			return nil, err
		}
	}
	return r.found, nil
}

func resourceKeys() string {
	last := len(resourceTypes) - 1
	return strings.Join(resourceTypes[:last], resourceSuffix+", ") + resourceSuffix +
		" or " + resourceTypes[last] + resourceSuffix
}

type resourceReader struct {
	*tree
	noLint bool
	lines  map[string]int // where each label is
	found  []Resource
}

// list reads one key of the file with its list.
func (r *resourceReader) list(key, list *yaml.Node) error {
	name := r.mask.unmask(key.Value)
	if name == "tests" {
		return nil
	}
	typ, isResource := strings.CutSuffix(name, resourceSuffix)
	if !isResource || !slices.Contains(resourceTypes, typ) {
		return errorAt(key.Line, key.Column, "unknown key %q: use %s", printable(name), resourceKeys())
	}
	if isNull(list) {
		return nil
	}
	if list.Kind != yaml.SequenceNode {
		return errorAt(list.Line, list.Column, "%s must be a list of resources", name)
	}
	for _, item := range list.Content {
		if err := r.item(typ, item); err != nil {
			return err
		}
	}
	return nil
}

func (r *resourceReader) item(typ string, item *yaml.Node) error {
	if !isMapping(item) {
		return errorAt(item.Line, item.Column, "each %s resource must be a mapping with a label", typ)
	}
	at := r.find(item, "label")
	if at < 0 {
		return errorAt(item.Line, item.Column, "the %s resource has no label: add one", typ)
	}
	label := item.Content[at]
	id := r.mask.unmask(label.Value)
	if label.Kind != yaml.ScalarNode || label.ShortTag() != "!!str" || id == "" {
		return errorAt(label.Line, label.Column, "the label of the %s resource must be a string that is not empty", typ)
	}
	if line, twice := r.lines[id]; twice {
		return errorAt(label.Line, label.Column, "label %q already used at line %d: choose another", printable(id), line)
	}
	r.lines[id] = label.Line
	d, err := r.encode(item, r.noLint, here)
	if err != nil {
		return err
	}
	r.found = append(r.found, Resource{Type: typ, ID: id, Doc: d})
	return nil
}
