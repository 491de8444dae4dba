package catalogue

import (
	"regexp"

	"gopkg.in/yaml.v3"

	"penstock/rpc"
)

// WithTemplates is a catalogue in which the components that templates define are
// everybody's. What cannot be read as a template defines none.
func (c *Catalogue) WithTemplates(list []rpc.Template) *Catalogue {
	if len(list) == 0 {
		return c
	}
	out := *c
	out.templates = map[key]string{}
	for _, t := range list {
		var of struct {
			Name, Type, Mapping string
		}
		if yaml.Unmarshal(t.Text, &of) == nil {
			out.templates[key{rpc.ComponentType(of.Type), of.Name}] = of.Mapping
		}
	}
	return &out
}

// word is what a component's name may be in a mapping.
var word = regexp.MustCompile(`[a-z][a-z0-9_]*`)

// madeBy are the components that a template's mapping may make, at a place. It is
// known only when it runs, so that every word counts which is the name of a
// component that the core runner does not have. Other templates count with what
// they make themselves.
func (c *Catalogue) madeBy(mapping, place string) (out []Ref) {
	core := c.find(Core)
	words := map[string]bool{}
	var read func(mapping string)
	read = func(mapping string) {
		for _, w := range word.FindAllString(mapping, -1) {
			if words[w] {
				continue
			}
			words[w] = true
			for _, class := range rpc.ComponentTypes() {
				of := key{class, w}
				if inner, templated := c.templates[of]; templated {
					read(inner)
				} else if !core.carries[of] && c.knows(of) {
					out = append(out, Ref{class, w, place})
				}
			}
		}
	}
	read(mapping)
	return out
}
