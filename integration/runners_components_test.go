package integration

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestComponentsAreListed asks a server with all runners what there is.
func TestComponentsAreListed(t *testing.T) {
	t.Parallel()
	p := startConnected(t)
	type entry struct {
		Class, Name, Status, Summary string
		Runners                      []string
	}
	list := func(query string) map[string]entry {
		var got struct{ Components []entry }
		p.getJSON(t, "/components"+query, &got)
		out := map[string]entry{}
		for _, e := range got.Components {
			out[e.Class+" "+e.Name] = e
		}
		return out
	}
	all, core, inputs := list(""), list("?runner=core"), list("?class=input")
	t.Logf("%d components, %d of core, %d inputs", len(all), len(core), len(inputs))
	assert.Equal(t, []string{"core", "messaging", "connect"}, all["input generate"].Runners)
	assert.Equal(t, []string{"messaging", "connect"}, all["cache redis"].Runners)
	assert.Equal(t, []string{"connect"}, all["processor javascript"].Runners)
	assert.NotEmpty(t, all["input kafka_franz"].Summary)
	assert.Contains(t, core, "input generate")
	assert.NotContains(t, core, "input kafka_franz")
	assert.Contains(t, inputs, "input kafka_franz")
	assert.NotContains(t, inputs, "cache redis")

	// Each can be asked for, and what it refers to is in the schema of all.
	var whole struct {
		Defs map[string]any `json:"$defs"`
	}
	p.getJSON(t, "/components/schema", &whole)
	assert.Len(t, whole.Defs, len(all)+9, "one for each, and one for each class")
	const refers = `"$ref":"/components/schema#/$defs/`
	for name := range inputs {
		a := p.expect(t, 200, "GET", "/components/"+strings.ReplaceAll(name, " ", "/"), "")
		assert.Equal(t, "application/schema+json", a.Header.Get("Content-Type"))
		for _, part := range strings.Split(a.Text(), refers)[1:] {
			def, _, _ := strings.Cut(part, `"`)
			assert.Contains(t, whole.Defs, def, name)
		}
	}
	c := jsonschema.NewCompiler()
	var text any
	p.getJSON(t, "/components/schema", &text)
	require.NoError(t, c.AddResource(p.Base+"/components/schema", text))
	schema, err := c.Compile(p.Base + "/components/schema")
	require.NoError(t, err)
	for config, fault := range map[string]string{
		`{"input": {"kafka_franz": {"seed_brokers": ["a:1"], "topics": ["b"]}}, "output": {"javascript": {}}}`: "/output",
		`{"input": {"kafka_franz": {"seed_brokers": ["a:1"], "topic": ["b"]}}}`:                                "/input/kafka_franz",
		`{"input": {"kafka_franz": {"seed_brokers": ["a:1"], "topics": ["b"]}}, "output": {"drop": {}}}`:       "",
	} {
		var value any
		require.NoError(t, json.Unmarshal([]byte(config), &value))
		if err := schema.Validate(value); fault == "" {
			assert.NoError(t, err)
		} else {
			assert.ErrorContains(t, err, "at '"+fault+"'")
		}
	}

	a := p.expect(t, 404, "GET", "/components/input/kafka_frans", "")
	assert.Equal(t, `Error: input "kafka_frans": not found: did you mean kafka_franz?`, a.Text())
	a = p.expect(t, 404, "GET", "/components/input/kafka_franz?runner=core", "")
	assert.Equal(t, "Error: input \"kafka_franz\": not found: the runner core does not have it, and messaging has", a.Text())
	a = p.expect(t, 404, "GET", "/components?runner=none", "")
	assert.Equal(t, `Error: runner "none": not found: installed are core, messaging, connect`, a.Text())
}
