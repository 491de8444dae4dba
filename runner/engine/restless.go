package engine

import (
	"fmt"
	"slices"

	"gopkg.in/yaml.v3"
)

// beside are the keys of an input that do not name its component.
var beside = []string{"label", "processors", "type", "plugin"}

// Restless says why the stream of a config, which was built, has to run though
// nobody calls it: an input takes messages by itself, or a buffer may hold some.
// Empty means that there is nothing to do without a call.
func Restless(config []byte) string {
	var root struct {
		Input  yaml.Node            `yaml:"input"`
		Buffer map[string]yaml.Node `yaml:"buffer"`
	}
	if err := yaml.Unmarshal(config, &root); err != nil {
		return "its config cannot be read for its inputs"
	}
	for name := range root.Buffer {
		if name != "none" && !slices.Contains(beside, name) {
			return fmt.Sprintf("its buffer %s may hold messages", name)
		}
	}
	return restlessInput(&root.Input)
}

func restlessInput(n *yaml.Node) string {
	var fields map[string]yaml.Node
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if err := n.Decode(&fields); err != nil || len(fields) == 0 {
		return "it has no http_server input"
	}
	for name, body := range fields {
		switch {
		case slices.Contains(beside, name):
		case name == "http_server":
			var server struct {
				Address string `yaml:"address"`
			}
			if err := body.Decode(&server); err != nil || server.Address != "" {
				return "its input http_server has an address of its own, at which nobody would wake it"
			}
		case name == "broker":
			var broker struct {
				Inputs []yaml.Node `yaml:"inputs"`
			}
			if err := body.Decode(&broker); err != nil || len(broker.Inputs) == 0 {
				return "it has no http_server input"
			}
			for i := range broker.Inputs {
				if why := restlessInput(&broker.Inputs[i]); why != "" {
					return why
				}
			}
		default:
			return fmt.Sprintf("its input %s takes messages by itself", name)
		}
	}
	return ""
}
