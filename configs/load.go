package configs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"gopkg.in/yaml.v3"
)

// Load reads the file at path, if path is not empty, over the defaults, and
// then applies the sets in order, each of the form `path=value` where path is
// the dotted path of a key. It does not check ranges: that is Validate, once
// the caller has put its own settings on top.
func Load(path string, sets []string) (Config, error) {
	cfg := Default()
	if path != "" {
		text, err := os.ReadFile(path)
		if err != nil {
			return Config{}, fmt.Errorf("cannot read the config file: %w", err)
		}
		if err := parse(path, text, &cfg); err != nil {
			return Config{}, err
		}
	}
	for _, set := range sets {
		if err := apply(set, &cfg); err != nil {
			return Config{}, err
		}
	}
	return cfg, nil
}

// parse puts what text says over cfg. Errors start with name, the file's.
func parse(name string, text []byte, cfg *Config) error {
	dec := yaml.NewDecoder(bytes.NewReader(text))
	var doc yaml.Node
	if err := dec.Decode(&doc); errors.Is(err, io.EOF) {
		return nil // Nothing but comments.
	} else if err != nil {
		return fmt.Errorf("%s: %s", name, yamlMessage(err))
	}
	var second yaml.Node
	if err := dec.Decode(&second); err == nil {
		return fmt.Errorf("%s:%d: a second document starts here: keep one", name, second.Line)
	} else if !errors.Is(err, io.EOF) {
		return fmt.Errorf("%s: %s", name, yamlMessage(err))
	}
	s := newSchema(cfg)
	if err := s.assign(doc.Content[0], ""); err != nil {
		return fmt.Errorf("%s:%w", name, err)
	}
	return nil
}

// apply puts one `path=value` over cfg.
func apply(set string, cfg *Config) error {
	path, text, found := strings.Cut(set, "=")
	if !found || path == "" {
		return fmt.Errorf("--set %q: write it as path=value, for example log.level=debug", set)
	}
	s := newSchema(cfg)
	leaf, known := s.leaves[path]
	if s.sections[path] {
		return fmt.Errorf("--set %q: %s is a section: set one of its keys", set, path)
	}
	if !known {
		return fmt.Errorf("--set %q: %s", set, s.unknown(path))
	}
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(text), &doc); err != nil {
		return fmt.Errorf("--set %q: the value: %s", set, yamlMessage(err))
	}
	// No text is no document: it empties a string, and is wrong elsewhere.
	value := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str"}
	if len(doc.Content) > 0 {
		value = doc.Content[0]
	}
	if _, err := assignValue(leaf, value); err != nil {
		return fmt.Errorf("--set %q: %s %w", set, path, err)
	}
	return nil
}

// yamlMessage is the library's message on one line and without its own name.
func yamlMessage(err error) string {
	msg := strings.TrimPrefix(err.Error(), "yaml: ")
	return strings.Join(strings.Fields(msg), " ")
}
