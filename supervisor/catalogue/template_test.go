package catalogue

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"penstock/rpc"
)

func TestTemplates(t *testing.T) {
	queue, far := component(rpc.TypeInput, "queue"), component(rpc.TypeCache, "far")
	bare := newCatalogue([]*Runner{
		runnerThat(Core, 1, coreSays), runnerThat("small", 2, with(queue)), runnerThat("large", 3, with(queue, far, component(rpc.TypeProcessor, "fetch"))),
	})
	assert.Same(t, bare, bare.WithTemplates(nil))
	c := bare.WithTemplates([]rpc.Template{
		{Text: []byte("name: tidy\ntype: processor\nmapping: root.mapping = this.a")},
		{Text: []byte("name: orders\ntype: input\nmapping: |\n  root.queue.topic = this.topic\n  root.processors = [{\"tidy\": {}}]")},
		{Text: []byte("name: outer\ntype: input\nmapping: 'root.orders = this.without(\"outer\")'")},
		// In the place of one that the index knows, and of one that a runner has.
		{Text: []byte("name: redis_streams\ntype: input\nmapping: root.generate = this")},
		{Text: []byte("name: fetch\ntype: processor\nmapping: 'root = {\"try\": [{\"cache\": {}}]}'")},
		{Text: []byte("name: elsewhere\ntype: output\nmapping: root.mongodb = this")},
		{Text: []byte("name: [no, template]")}, {Text: []byte("{")},
	})
	for config, want := range map[string]string{
		"pipeline: {processors: [{tidy: {a: x}}]}":                                   "core",
		"input: {orders: {topic: a}}":                                                "small",
		"input: {type: orders, orders: {topic: a}, processors: [{tidy: {}}]}":        "small",
		"input: {orders: {topic: a}}\ncache_resources: [{label: c, far: {}}]":        "large",
		"input: {outer: {}}":                                                         "small",
		"input: {redis_streams: {}}":                                                 "core",
		"pipeline: {processors: [{fetch: {}}]}":                                      "core",
		"output: {elsewhere: {}}":                                                    "core",
		"input: {orders: {}}\noutput: {elsewhere: {}}":                               "core",
		"cache_resources: [{label: c, far: {}}]\noutput: {elsewhere: {}}":            "large",
		"pipeline: {processors: [{try: [{switch: [{processors: [{fetch: {}}]}]}]}]}": "core",
	} {
		n := c.Named(values(t, config))
		assert.True(t, n.Templated, config)
		assert.False(t, n.Open, config)
		r, err := c.Choose("", n)
		require.NoError(t, err, config)
		assert.Equal(t, want, r.Name, config)
	}
	n := c.Named(values(t, "input: {orders: {}}"))
	assert.Equal(t, []Ref{{rpc.TypeInput, "queue", "input"}}, n.Maybe)
	r, err := c.Choose(Core, n)
	require.NoError(t, err)
	assert.Equal(t, Core, r.Name, "asked for")
	_, err = bare.Choose("", bare.Named(values(t, "input: {redis_streams: {}}")))
	assert.Error(t, err)
}
