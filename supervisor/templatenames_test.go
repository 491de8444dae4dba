package supervisor

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"penstock/supervisor/document"
)

func TestTemplateNames(t *testing.T) {
	names := &templateNames{}
	for _, text := range []string{
		"name: queue\ntype: input\nmapping: |\n  root.redis_streams.url = this.url\n  root.redis_streams.streams = [ \"https://discord.com\" ]\n",
		"name: outer\ntype: processor\nmapping: 'root = {\"branch\": {\"processors\": [{\"inner\": this}]}}'\n",
		"name: inner\ntype: processor\nmapping: 'root.sql_raw = this.without(\"outer\")'\n",
		"name: [\n",
		"not: one\n",
	} {
		names.add([]byte(text))
	}
	for config, want := range map[string][]string{
		"input: {queue: {url: x}}":                                 {"com", "https", "redis_streams", "streams", "url"},
		"input: {type: queue, plugin: {url: x}}":                   {"com", "https", "redis_streams", "streams", "url"},
		"pipeline: {processors: [{inner: {}}]}":                    {"branch", "inner", "outer", "processors", "sql_raw", "without"},
		"pipeline: {processors: [{try: [{outer: {}}]}]}":           {"branch", "inner", "outer", "processors", "sql_raw", "without"},
		"input: {generate: {mapping: 'root = \"queue\"'}}":         nil,
		"pipeline: {processors: [{mapping: 'root.queue = this'}]}": nil,
		"": nil,
	} {
		doc, err := document.Parse([]byte(config))
		assert.NoError(t, err)
		assert.Equal(t, want, names.usedBy(doc.Value()), config)
	}
	assert.Nil(t, (*templateNames)(nil).usedBy(map[string]any{"queue": 1}))
}
