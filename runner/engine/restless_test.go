package engine

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestRestless(t *testing.T) {
	for config, want := range map[string]string{
		"input: {http_server: {path: /post}}":                                               "",
		"input: {label: a, http_server: {}, processors: []}\nbuffer: {none: {}}":            "",
		"input: {broker: {copies: 2, inputs: [{http_server: {}}, {http_server: {}}]}}":      "",
		"x: &i {http_server: {}}\ninput: *i":                                                "",
		"input: {http_server: {address: '127.0.0.1:1'}}":                                    "its input http_server has an address of its own, at which nobody would wake it",
		"input: {generate: {mapping: 'root = 1'}}":                                          "its input generate takes messages by itself",
		"input: {broker: {inputs: [{http_server: {}}, {file: {paths: [a]}}]}}":              "its input file takes messages by itself",
		"input: {broker: {inputs: [{broker: {inputs: [{http_server: {}}, {stdin: {}}]}}]}}": "its input stdin takes messages by itself",
		"input: {broker: {inputs: []}}":                                                     "it has no http_server input",
		"input: {resource: a}":                                                              "its input resource takes messages by itself",
		"input: {http_server: {}}\nbuffer: {memory: {}}":                                    "its buffer memory may hold messages",
		"output: {drop: {}}":                                                                "it has no http_server input",
		"input: []":                                                                         "it has no http_server input",
		"input: {http_server: 5}":                                                           "its input http_server has an address of its own, at which nobody would wake it",
		"a: b: c":                                                                           "its config cannot be read for its inputs",
	} {
		assert.Equal(t, want, Restless([]byte(config)), config)
	}
}
