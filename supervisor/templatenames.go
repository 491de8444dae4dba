package supervisor

import (
	"regexp"
	"slices"

	"gopkg.in/yaml.v3"
)

// templateNames tell which components templates may make of a config, without the
// engine: what a mapping makes is only known once it has run, but the name of each
// component stands in it, as a key that is assigned or in quotes.
type templateNames struct {
	// words are those of each template that may be names, by its name.
	words map[string][]string
}

// wordOf is what may be a component's name in a mapping.
var wordOf = regexp.MustCompile(`[."']([a-z][a-z0-9_]*)`)

// add takes a template's text; one that is none is passed over.
func (t *templateNames) add(text []byte) {
	var is struct{ Name, Mapping string }
	if yaml.Unmarshal(text, &is) != nil {
		return
	}
	if t.words == nil {
		t.words = map[string][]string{}
	}
	for _, found := range wordOf.FindAllStringSubmatch(is.Mapping, -1) {
		t.words[is.Name] = append(t.words[is.Name], found[1])
	}
}

// usedBy are the words of the templates that configs use, and of those that these
// use.
func (t *templateNames) usedBy(configs ...any) (words []string) {
	if t == nil || len(t.words) == 0 {
		return nil
	}
	seen := map[string]bool{}
	var use func(name string)
	use = func(name string) {
		found, is := t.words[name]
		if !is || seen[name] {
			return
		}
		seen[name] = true
		words = append(words, found...)
		for _, word := range found {
			use(word)
		}
	}
	var walk func(value any)
	walk = func(value any) {
		switch value := value.(type) {
		case map[string]any:
			for key, inner := range value {
				use(key)
				walk(inner)
			}
			if name, written := value["type"].(string); written {
				use(name)
			}
		case []any:
			for _, inner := range value {
				walk(inner)
			}
		}
	}
	for _, config := range configs {
		walk(config)
	}
	slices.Sort(words)
	return slices.Compact(words)
}
