package integration

// setScenarios: POST /streams.
func setScenarios() []scenario {
	return []scenario{
		{name: "set", steps: []step{
			ask("create one", "POST /streams/before", idleYAML, 200, nothing),
			ask("create another", "POST /streams/both", idleYAML, 200, nothing),
			ask("set", "POST /streams", `
both:
  input: {generate: {interval: 2h, mapping: 'root = {}'}}
  output: {drop: {}}
after:
  input: {generate: {interval: 3h, mapping: 'root = {}'}}
  output: {drop: {}}
`, 200, nothing),
			ask("list", "GET /streams", "", 200, sameStreams),
			ask("the absent one is gone", "GET /streams/before", "", 404, sameText),
			ask("the present one is updated", "GET /streams/both", "", 200, sameStatus),
			ask("the new one is there", "GET /streams/after", "", 200, sameStatus),
			ask("set in JSON", "POST /streams", `{"both":`+idleJSON+`,"json":`+idleJSON+`}`, 200, nothing),
			ask("list that", "GET /streams", "", 200, sameStreams),
			ask("read from JSON", "GET /streams/json", "", 200, sameStatus),
			ask("ready", "GET /ready", "", 200, sameText).soon(),
			ask("broken", "POST /streams", "{", 400, saying("Error: ", "line 1")),
			ask("an array", "POST /streams", "[]", 400, saying("Error: ")),
			ask("neither changed a thing", "GET /streams", "", 200, sameStreams),
			ask("lints of one and another", "POST /streams", lintSet, 400, sameLintSet),
			ask("changed nothing either", "GET /streams", "", 200, sameStreams),
			ask("lints, chilled", "POST /streams?chilled=true", lintSet, 200, nothing),
			ask("list the chilled", "GET /streams", "", 200, sameStreams),
			ask("read the chilled", "GET /streams/one", "", 200, sameStatus),
			ask("an empty set", "POST /streams", "{}", 200, nothing),
			ask("all are gone", "GET /streams", "", 200, sameJSON),
			ask("no body is an empty set", "POST /streams", "", 200, nothing),
		}},
		{name: "set with a failure", steps: []step{
			ask("a stream", "POST /streams/old", idleYAML, 200, nothing),
			ask("a set of which one cannot be built", "POST /streams",
				`{"old":`+badInterval+`,"new":`+idleJSON+`,"bad":`+badInterval+`}`, 400, nothing).
				except("set-all-or-nothing", 400, has("old", "bad", "invalid duration")),
			ask("list", "GET /streams", "", 200, sameStreams).
				except("set-all-or-nothing", 200, jsonAt(true, "old", "active"), jsonAt(nil, "new"), jsonAt(nil, "bad")),
			ask("unknown component", "POST /streams",
				`{"old":{"input":{"nope":{}},"output":{"drop":{}}}}`, 400, sameLintSet),
		}},
		{name: "set and the environment", steps: []step{
			ask("a variable with a default", "POST /streams",
				`{"a":{"input":{"generate":{"mapping":"root = {}","interval":"${PENSTOCK_TEST_NOPE:1h}"}},"output":{"drop":{}}}}`, 400, nothing).
				except("set-resolves-variables", 200, empty),
			ask("list", "GET /streams", "", 200, sameStreams).
				except("set-resolves-variables", 200, jsonAt(true, "a", "active")),
		}},
		{name: "set unchanged", steps: []step{
			ask("a stream", "POST /streams/a", idleYAML, 200, nothing),
			exchange("the same again restarts it", "restarted", sameSetAgain).
				exceptOutcome("unchanged-runs-on", "ran on"),
		}},
		{name: "anchors in a set", steps: []step{
			ask("one stream from another", "POST /streams", `
a: &a
  input: {generate: {interval: 1h, mapping: 'root = {}'}}
  output: {drop: {}}
b: *a
`, 200, nothing),
			ask("list", "GET /streams", "", 200, sameStreams),
		}},
	}
}

const lintSet = `
one:
  input: {generate: {interval: 1h, mapping: 'root = {}', nope: 1}}
  output: {drop: {}}
two:
  input: {generate: {interval: 1h, mapping: 'root = {}'}}
  output: {drop: {}}
  wat: 1
three:
  input: {generate: {interval: 1h, mapping: 'root = {}'}}
  output: {drop: {}}
`
