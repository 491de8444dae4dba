package integration

const deepResourceYAML = `
broker:
  inputs:
    - generate:
        mapping: root = {}
        nope: 1
processors:
  - log:
      wat: 1
`

// resourceScenarios: /resources/{type}/{id} and the streams that use them.
func resourceScenarios() []scenario {
	const own = "resources-are-listed"
	return []scenario{
		{name: "resources", steps: []step{
			ask("cache", "POST /resources/cache/memo", "memory: {default_ttl: 60s}", 200, nothing),
			ask("input", "POST /resources/input/source", `{"generate":{"interval":"1h","mapping":"root = {}"}}`, 200, nothing),
			ask("output", "POST /resources/output/sink", "drop: {}", 200, nothing),
			ask("processor", "POST /resources/processor/upper", "mapping: root = content().uppercase()", 200, nothing),
			ask("rate limit", "POST /resources/rate_limit/slow", "local: {count: 1, interval: 1h}", 200, nothing),
			ask("replace", "POST /resources/output/sink", "drop: {}", 200, nothing),
			ask("a bad type", "POST /resources/buffer/x", "memory: {}", 400, sameText),
			ask("broken", "POST /resources/cache/x", "{", 400, saying("Error: ", "line 1")),
			ask("unknown field", "POST /resources/cache/x", "memory:\n  nope: 1\n", 400, sameLints),
			ask("unknown field in JSON", "POST /resources/processor/x", `{"log":{"nope":1}}`, 400, sameLints),
			ask("a bad mapping", "POST /resources/processor/x", "mapping: 'root = '", 400, sameLints),
			ask("unknown component", "POST /resources/cache/x", "nope: {}\n", 400, sameLints),
			ask("a bad mapping, indented", "POST /resources/processor/x", "mapping: |\n  root.a = 1\n  root.b = nope()\n", 400, sameLints),
			ask("deep in a resource", "POST /resources/input/x", deepResourceYAML, 400, sameLints),
			ask("no body", "POST /resources/cache/x", "", 400, saying("Error: ", "expected object")),
			ask("unknown field, chilled", "POST /resources/cache/chilled?chilled=true", "memory: {nope: 1}", 200, nothing),
			ask("cannot be built", "POST /resources/cache/x", "lru: {cap: -1}", 502, nothing).
				except("failed-build-is-400", 400, line("Error: ")),
			ask("a missing variable", "POST /resources/output/x", "file: {path: '${PENSTOCK_TEST_NOPE}'}", 400,
				saying("Error: ", "required environment variables were not set: [PENSTOCK_TEST_NOPE]")),
			ask("a variable with a default", "POST /resources/rate_limit/env", "local: {interval: '${PENSTOCK_TEST_NOPE:1s}'}", 200, nothing),
			ask("put", "PUT /resources/cache/memo", "memory: {}", 400, sameText),
			ask("patch", "PATCH /resources/cache/memo", "memory: {}", 400, sameText),
			ask("list", "GET /resources", "", 404, sameText).except(own, 200, has("memo", "source", "sink", "upper", "slow")),
			ask("read", "GET /resources/cache/memo", "", 400, sameText).except(own, 200, has("default_ttl", "60s")),
			ask("read a missing one", "GET /resources/cache/nope", "", 400, sameText).except(own, 404, line("Resource not found")),
			ask("delete", "DELETE /resources/cache/chilled", "", 400, sameText).except(own, 200, empty),
			ask("delete again", "DELETE /resources/cache/chilled", "", 400, sameText).except(own, 404, line("Resource not found")),
		}},
		{name: "streams with resources", steps: []step{
			ask("processor", "POST /resources/processor/change", "mapping: root = content().uppercase()", 200, nothing),
			ask("stream", "POST /streams/a", `
input: {http_server: {}}
pipeline: {processors: [{resource: change}]}
output: {sync_response: {}}
`, 200, nothing),
			ask("it is used", "POST /a/post", "Hello", 200, sameWire).soon(has("HELLO")),
			ask("delete one in use", "DELETE /resources/processor/change", "", 400, sameText).except(own, 409, line("a")),
			ask("replace it", "POST /resources/processor/change", "mapping: root = content().lowercase()", 200, nothing),
			ask("the new one is used", "POST /a/post", "Hello", 200, sameWire).soon(has("hello")),
			ask("rate limit", "POST /resources/rate_limit/once", "local: {count: 1, interval: 1h}", 200, nothing),
			ask("a limited stream", "POST /streams/limited", `
input: {http_server: {rate_limit: once}}
output: {sync_response: {}}
`, 200, nothing),
			ask("once", "POST /limited/post", "one", 200, sameWire).soon(),
			ask("not twice", "POST /limited/post", "two", 429, sameWire),
			ask("an input", "POST /resources/input/source", `{"generate":{"count":2,"interval":"","mapping":"root = {}"}}`, 200, nothing),
			ask("an output", "POST /resources/output/sink", "drop: {}", 200, nothing),
			ask("a stream of both", "POST /streams/ends", "input: {resource: source}\noutput: {resource: sink}\n", 200, nothing),
			ask("its status", "GET /streams/ends", "", 200, sameStatus).soon(active(false)),
			ask("a resource that is not there", "POST /streams/b", "input: {resource: nope}\noutput: {drop: {}}\n", 502, nothing).
				except("failed-build-is-400", 400, line("Error: ", "nope")),
			ask("a rate limit that is not there", "POST /streams/b", "input: {http_server: {rate_limit: nope}}\noutput: {drop: {}}\n", 502, nothing).
				except("failed-build-is-400", 400, line("Error: ", "nope")),
		}},
		{name: "state between streams", penstockArgs: quickStop, steps: []step{
			ask("cache", "POST /resources/cache/memo", "memory: {}", 200, nothing),
			ask("a stream that sets", "POST /streams/set", `
input: {http_server: {}}
pipeline: {processors: [{cache: {resource: memo, operator: set, key: k, value: '${! content() }'}}]}
output: {sync_response: {}}
`, 200, nothing),
			ask("a stream that gets", "POST /streams/get", `
input: {http_server: {}}
pipeline: {processors: [{cache: {resource: memo, operator: get, key: k}}, {catch: [{mapping: root = "nothing"}]}]}
output: {sync_response: {}}
`, 200, nothing),
			ask("set", "POST /set/post", "something", 200, sameWire).soon(),
			ask("get", "POST /get/post", "", 200, sameWire).theirs(has("something")),
			ask("a stream into a pipe", "POST /streams/in", "input: {http_server: {}}\noutput: {inproc: pipe}\n", 200, nothing),
			ask("a stream out of it", "POST /streams/out", "input: {inproc: pipe}\noutput: {drop: {}}\n", 200, nothing),
			ask("through the pipe", "POST /in/post", "x", 200, sameWire).soon(),
		}},
	}
}
