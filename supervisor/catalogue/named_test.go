package catalogue

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"penstock/rpc"
)

// listOf are the components of a config as class, name and place.
func listOf(n Named) []string {
	out := []string{}
	for _, r := range n.Refs {
		out = append(out, string(r.Class)+" "+r.Name+" at "+r.Path)
	}
	return out
}

func TestNamed(t *testing.T) {
	more := with(
		component(rpc.TypeInput, "queue"), component(rpc.TypeOutput, "queue"), component(rpc.TypeCache, "far"),
		component(rpc.TypeProcessor, "lookup"), component(rpc.TypeScanner, "odd"),
		component(rpc.TypeBuffer, "disk", rpc.Field{Name: "before", Type: "processor", Kind: "array"}),
		component(rpc.TypeProcessor, "tools",
			rpc.Field{Name: "list", Type: "object", Kind: "array", Children: []rpc.Field{{Name: "processors", Type: "processor", Kind: "array"}}},
			rpc.Field{Name: "grid", Type: "processor", Kind: "2darray"}, rpc.Field{Name: "by", Type: "cache", Kind: "map"}),
	)
	c := newCatalogue([]*Runner{runnerThat(Core, 1, coreSays), runnerThat("more", 2, more)})
	for name, of := range map[string]struct {
		config string
		want   []string
		open   bool
	}{
		"plain":   {"input: {queue: {}}\noutput: {drop: {}}", []string{"input queue at input", "output drop at output"}, false},
		"by type": {"input: {type: queue}\noutput: {type: drop, drop: {}, queue: {}}", []string{"input queue at input", "output drop at output"}, false},
		"by type, as a plugin": {"pipeline: {processors: [{type: try, plugin: [{lookup: {}}]}]}",
			[]string{"processor try at pipeline.processors.0", "processor lookup at pipeline.processors.0.plugin.0"}, false},
		"beside a label": {"input: {label: lookup, queue: {}}", []string{"input queue at input"}, false},
		"processors of an input and an output": {"input: {stdin: {}, processors: [{lookup: {}}]}\noutput: {drop: {}, processors: [{type: lookup}]}",
			[]string{"input stdin at input", "processor lookup at input.processors.0", "output drop at output", "processor lookup at output.processors.0"}, false},
		"broker": {"input: {broker: {inputs: [{stdin: {}}, {broker: {inputs: [{queue: {}, processors: [{lookup: {}}]}]}}]}}",
			[]string{"input broker at input", "input stdin at input.broker.inputs.0", "input broker at input.broker.inputs.1",
				"input queue at input.broker.inputs.1.broker.inputs.0", "processor lookup at input.broker.inputs.1.broker.inputs.0.processors.0"}, false},
		"read_until, sequence and dynamic": {"input: {sequence: {inputs: [{read_until: {input: {queue: {}}}}, {dynamic: {inputs: {b: {queue: {}}, a: {stdin: {}}}}}]}}",
			[]string{"input sequence at input", "input read_until at input.sequence.inputs.0", "input queue at input.sequence.inputs.0.read_until.input",
				"input dynamic at input.sequence.inputs.1", "input stdin at input.sequence.inputs.1.dynamic.inputs.a", "input queue at input.sequence.inputs.1.dynamic.inputs.b"}, false},
		"switch, fallback, retry and drop_on": {"output: {switch: {cases: [{output: {retry: {output: {queue: {}}}}}, {output: {fallback: [{drop: {}}, {drop_on: {output: {queue: {}}}}]}}]}}",
			[]string{"output switch at output", "output retry at output.switch.cases.0.output", "output queue at output.switch.cases.0.output.retry.output",
				"output fallback at output.switch.cases.1.output", "output drop at output.switch.cases.1.output.fallback.0", "output drop_on at output.switch.cases.1.output.fallback.1",
				"output queue at output.switch.cases.1.output.fallback.1.drop_on.output"}, false},
		"processors in processors": {`pipeline: {processors: [
			{switch: [{check: 'true', processors: [{try: [{lookup: {}}]}]}]}, {branch: {processors: [{lookup: {}}]}}, {cached: {cache: x, key: k, processors: [{lookup: {}}]}},
			{workflow: {branches: {a: {processors: [{lookup: {}}]}}}}, {group_by: [{check: 'true', processors: [{lookup: {}}]}]}, {processors: [{catch: [{lookup: {}}]}]}]}`,
			[]string{
				"processor switch at pipeline.processors.0", "processor try at pipeline.processors.0.switch.0.processors.0", "processor lookup at pipeline.processors.0.switch.0.processors.0.try.0",
				"processor branch at pipeline.processors.1", "processor lookup at pipeline.processors.1.branch.processors.0",
				"processor cached at pipeline.processors.2", "processor lookup at pipeline.processors.2.cached.processors.0",
				"processor workflow at pipeline.processors.3", "processor lookup at pipeline.processors.3.workflow.branches.a.processors.0",
				"processor group_by at pipeline.processors.4", "processor lookup at pipeline.processors.4.group_by.0.processors.0",
				"processor processors at pipeline.processors.5", "processor catch at pipeline.processors.5.processors.0", "processor lookup at pipeline.processors.5.processors.0.catch.0"}, false},
		"scanners": {"input: {file: {paths: [a], scanner: {decompress: {algorithm: gzip, into: {odd: {}}}}}}",
			[]string{"input file at input", "scanner decompress at input.file.scanner", "scanner odd at input.file.scanner.decompress.into"}, false},
		"buffer, metrics and tracer": {"buffer: {disk: {before: [{lookup: {}}]}}\nmetrics: {mapping: 'root = this', prometheus: {}}\ntracer: {none: {}}",
			[]string{"buffer disk at buffer", "processor lookup at buffer.disk.before.0", "metrics prometheus at metrics", "tracer none at tracer"}, false},
		"batching": {"output: {http_client: {url: 'http://a', batching: {count: 2, processors: [{archive: {format: lines}}, {lookup: {}}]}}}",
			[]string{"output http_client at output", "processor archive at output.http_client.batching.processors.0", "processor lookup at output.http_client.batching.processors.1"}, false},
		"lists in objects, grids and maps": {"pipeline: {processors: [{tools: {list: [{processors: [{lookup: {}}]}], grid: [[{noop: {}}], [{sleep: {}}, {lookup: {}}]], by: {k: {far: {}}}}}]}",
			[]string{"processor tools at pipeline.processors.0", "cache far at pipeline.processors.0.tools.by.k", "processor noop at pipeline.processors.0.tools.grid.0.0",
				"processor sleep at pipeline.processors.0.tools.grid.1.0", "processor lookup at pipeline.processors.0.tools.grid.1.1", "processor lookup at pipeline.processors.0.tools.list.0.processors.0"}, false},
		"resources of the config": {"cache_resources: [{label: a, far: {}}, {label: b, multilevel: [a]}]\nrate_limit_resources: [{label: r, local: {}}]\ninput_resources: [{label: i, queue: {}}]\noutput_resources: [{label: o, queue: {}}]\nprocessor_resources: [{label: p, lookup: {}}]",
			[]string{"cache far at cache_resources.0", "cache multilevel at cache_resources.1", "input queue at input_resources.0", "output queue at output_resources.0",
				"processor lookup at processor_resources.0", "rate_limit local at rate_limit_resources.0"}, false},
		"anchors": {"pipeline: {processors: [&a {try: [{lookup: {}}]}, *a]}",
			[]string{"processor try at pipeline.processors.0", "processor lookup at pipeline.processors.0.try.0", "processor try at pipeline.processors.1", "processor lookup at pipeline.processors.1.try.0"}, false},
		"two in one place": {"input: {queue: {}, stdin: {}}", []string{"input queue at input", "input stdin at input"}, false},
		"of the index":     {"input: {redis_streams: {}}", []string{"input redis_streams at input"}, false},
		"unknown":          {"input: {quue: {}}\noutput: {drop: {}}", []string{"output drop at output"}, true},
		"unknown type":     {"input: {type: quue, queue: {}}", []string{}, true},
		"of another class": {"input: {lookup: {}}", []string{}, true},
		"a variable":       {"input: {'${KIND}': {}}\noutput: {type: '${KIND}', drop: {}}", []string{}, true},
		"no component":     {"input: {label: a}\noutput: [drop]\npipeline: {processors: [5]}", []string{}, true},
		"nothing":          {"input:\noutput: null\npipeline: {threads: 4}\nlogger: {level: INFO}", []string{}, false},
		"not a list":       {"pipeline: {processors: {lookup: {}}}", []string{}, false},
		"no mapping":       {"[input]", []string{}, false},
		"empty":            {"", []string{}, false},
	} {
		t.Run(name, func(t *testing.T) {
			named := c.Named(values(t, of.config))
			assert.ElementsMatch(t, of.want, listOf(named))
			assert.Equal(t, of.open, named.Open)
		})
	}

	named := c.NamedBy(rpc.TypeProcessor, values(t, "label: p\ntry: [{lookup: {}}]"), "processor resource p")
	assert.Equal(t, []string{"processor try at processor resource p", "processor lookup at processor resource p.try.0"}, listOf(named))
}

// Of two runners one may be older: what either has of a component is looked at.
func TestFieldsOfTwoVersions(t *testing.T) {
	older := with(component(rpc.TypeProcessor, "tool", rpc.Field{Name: "run", Type: "object", Kind: "scalar", Children: []rpc.Field{{Name: "first", Type: "processor"}}}))
	newer := with(component(rpc.TypeProcessor, "tool",
		rpc.Field{Name: "run", Type: "object", Kind: "scalar", Children: []rpc.Field{{Name: "first", Type: "processor"}, {Name: "all", Type: "processor", Kind: "array"}}},
		rpc.Field{Name: "to", Type: "output"}))
	c := newCatalogue([]*Runner{runnerThat(Core, 1, older), runnerThat("b", 2, newer), runnerThat("c", 2, older)})
	named := c.Named(values(t, "pipeline: {processors: [{tool: {run: {first: {noop: {}}, all: [{sleep: {}}]}, to: {drop: {}}}}]}"))
	assert.Equal(t, []string{
		"processor tool at pipeline.processors.0", "processor sleep at pipeline.processors.0.tool.run.all.0",
		"processor noop at pipeline.processors.0.tool.run.first", "output drop at pipeline.processors.0.tool.to",
	}, listOf(named), "each once")
}

func TestCalled(t *testing.T) {
	c := newCatalogue([]*Runner{
		runnerThat(Core, 1, coreSays),
		runnerThat("more", 2, with(component(rpc.TypeInput, "queue"), component(rpc.TypeOutput, "queue"))),
	})
	called := c.Called([]string{"nothing", "queue", "drop"})
	assert.ElementsMatch(t, []string{"input queue at a template", "output queue at a template", "output drop at a template"}, listOf(called))
	assert.False(t, called.Open)
	runner, err := c.Choose("", called)
	assert.NoError(t, err)
	assert.Equal(t, "more", runner.Name)
	assert.Empty(t, c.Called(nil).Refs)
}
