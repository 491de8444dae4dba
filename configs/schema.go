package configs

import (
	"fmt"
	"reflect"
	"strings"

	"gopkg.in/yaml.v3"
)

// schema is the tree of keys that the yaml tags of Config span. It is walked by
// hand, since yaml.v3's own strict mode names neither the path of an unknown
// key nor what it may have meant, and takes a bare 5 for five nanoseconds.
type schema struct {
	// leaves are the settable fields by dotted path.
	leaves map[string]reflect.Value
	// sections are the paths above them; the empty one is the top.
	sections map[string]bool
	// paths are all of both but the top, in the order of their declaration.
	paths []string
}

func newSchema(cfg *Config) *schema {
	s := &schema{leaves: map[string]reflect.Value{}, sections: map[string]bool{}}
	s.add(reflect.ValueOf(cfg).Elem(), "")
	return s
}

func (s *schema) add(v reflect.Value, path string) {
	if path != "" && !s.sections[path] {
		s.paths = append(s.paths, path)
	}
	if _, text := unmarshaler(v); text || v.Kind() != reflect.Struct {
		s.leaves[path] = v
		return
	}
	s.sections[path] = true
	for i := range v.NumField() {
		name, options, _ := strings.Cut(v.Type().Field(i).Tag.Get("yaml"), ",")
		if name == "-" {
			continue // It is made of other keys.
		}
		if options == "inline" {
			s.add(v.Field(i), path)
			continue
		}
		s.add(v.Field(i), join(path, name))
	}
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// assign puts what node says into the section at path. Its errors start with
// the line.
func (s *schema) assign(node *yaml.Node, path string) error {
	if isNull(node) {
		return nil // A key without a value keeps its default.
	}
	if node.Kind != yaml.MappingNode {
		return fmt.Errorf("%d: %s must be a mapping of keys to values", node.Line, describe(path))
	}
	lines := map[string]int{}
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, value := node.Content[i], node.Content[i+1]
		full := join(path, key.Value)
		if key.Kind != yaml.ScalarNode || key.Tag == "!!merge" {
			return fmt.Errorf("%d: %s has a key that is no plain name", key.Line, describe(path))
		}
		if first, twice := lines[key.Value]; twice {
			return fmt.Errorf("%d: %s is set a second time: line %d did before", key.Line, full, first)
		}
		lines[key.Value] = key.Line
		if err := s.assignKey(key, value, full); err != nil {
			return err
		}
	}
	return nil
}

func (s *schema) assignKey(key, value *yaml.Node, path string) error {
	leaf, known := s.leaves[path]
	switch section := s.sections[path]; {
	case (known || section) && strings.Contains(key.Value, "."):
		return fmt.Errorf("%d: %q is a path, which only --set takes: nest the keys", key.Line, key.Value)
	case section && key.Value != "":
		return s.assign(value, path)
	case !known:
		return fmt.Errorf("%d: %s", key.Line, s.unknown(path))
	}
	if isNull(value) {
		return nil
	}
	if at, err := assignValue(leaf, value); err != nil {
		return fmt.Errorf("%d: %s %w", at.Line, path, err)
	}
	return nil
}

func isNull(node *yaml.Node) bool {
	return node.Kind == yaml.ScalarNode && node.Tag == "!!null"
}

func describe(path string) string {
	if path == "" {
		return "the file"
	}
	return path
}
