package integration

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
)

// lintScenarios: documents that are wrong, odd, or need the environment.
func lintScenarios() []scenario {
	return []scenario{
		{name: "documents", steps: []step{
			ask("broken JSON", "POST /streams/a", "{", 400, saying("Error: ", "line 1")),
			ask("broken YAML", "POST /streams/a", "input:\n  - x\n y: [\n", 400, saying("Error: ", "line ")),
			ask("a tab", "POST /streams/a", "input:\n\tgenerate: {}\n", 400, saying("Error: ", "line ")),
			ask("no body", "POST /streams/a", "", 400, sameLints),
			ask("a comment alone", "POST /streams/a", "# nothing\n", 400, sameLints),
			ask("an array", "POST /streams/a", "[]", 400, sameLints),
			ask("a string", "POST /streams/a", `"x"`, 400, sameLints),
			ask("a number", "POST /streams/a", "5", 400, sameLints),
			ask("a section of the wrong kind", "POST /streams/a", "input: 5\noutput: []\n", 400,
				saying("Error: (1,1) invalid type !!int, expected object")),
			ask("two documents", "POST /streams/docs", idleYAML+"---\nnope: 1\n", 200, nothing).
				except("one-document", 400, line("Error: ", "line 8")),
			ask("scalars of every kind", "POST /streams/kinds?chilled=true", idleYAML+kindsYAML, 200, nothing),
			ask("read them", "GET /streams/kinds", "", 200, sameStatus),
			ask("a date", "POST /streams/date?chilled=true", idleYAML+"date: 2001-12-14\n", 200, nothing),
			ask("read the date", "GET /streams/date", "", 200, sameStatus).theirs(jsonAt("2001-12-14T00:00:00Z", "config", "date")).
				except("dates-as-posted", 200, jsonAt("2001-12-14", "config", "date")),
			ask("a key that is no string", "POST /streams/keys?chilled=true", idleYAML+"keys: {1: one}\n", 200, nothing),
			ask("read the key", "GET /streams/keys", "", 502, saying("Error: ")).
				except("keys-that-are-no-strings", 200, jsonAt("one", "config", "keys", "1")),
			ask("text that needs quoting", "POST /streams/text", textYAML, 200, nothing),
			ask("read it back", "GET /streams/text", "", 200, sameStatus),
			ask("too large", "POST /streams/large", idleYAML+"# "+strings.Repeat("x", 4<<20), 200, nothing).
				except("body-limit", 413, line("4194304")),
		}},
		{name: "lints", steps: []step{
			ask("unknown fields", "POST /streams/a", `input:
  generate:
    mapping: root = {}
    nope: 1
output:
  drop: {}
wat: 1
`, 400, sameLints),
			ask("unknown fields in JSON on one line", "POST /streams/a",
				`{"input":{"generate":{"mapping":"root = {}","nope":1}},"output":{"drop":{}},"wat":1}`, 400, sameLints),
			ask("after comments and blank lines", "POST /streams/a",
				"# one\n\n# two\n"+idleYAML+"\n\nwat: 1\n", 400, sameLints),
			ask("a bad mapping", "POST /streams/a", "input:\n  generate: {mapping: \"root = \"}\noutput:\n  drop: {}\n", 400, sameLints),
			ask("a bad mapping of several lines", "POST /streams/a", `input:
  generate:
    mapping: |
      root.a = 1
      root.b = nope(
output:
  drop: {}
`, 400, sameLints),
			ask("an unknown Bloblang function", "POST /streams/a", "input:\n  generate: {mapping: 'root = nope()'}\noutput:\n  drop: {}\n", 400, sameLints),
			ask("a label clash", "POST /streams/a", `input:
  label: foo
  generate: {mapping: "root = {}"}
output:
  label: foo
  drop: {}
`, 400, sameLints),
			ask("a bad label", "POST /streams/a", "input:\n  label: Foo Bar\n  generate: {mapping: 'root = {}'}\noutput:\n  drop: {}\n", 400, sameLints),
			ask("deep in the tree", "POST /streams/a", deepLintYAML, 400, sameLints),
			ask("a value of the wrong type", "POST /streams/a", "input:\n  generate: {mapping: 'root = {}', count: [1]}\noutput:\n  drop: {}\n", 400, sameLints),
			ask("none of the options", "POST /streams/a", "input:\n  generate: {mapping: 'root = {}'}\noutput:\n  broker: {pattern: nope, outputs: [{drop: {}}]}\n", 400, sameLints),
			ask("resources do not belong here", "POST /streams/a", idleYAML+"cache_resources:\n  - label: c\n    memory: {}\n", 400, sameLints),
			ask("two components in one", "POST /streams/a", "input:\n  generate: {mapping: 'root = {}'}\n  stdin: {}\noutput:\n  drop: {}\n", 400, nothing).
				theirs(line("Error: (2,1) unable to infer input type, multiple candidates 'generate' and 'stdin'")).
				except("lints-before-parsing", 400, lint("(2,1) unable to infer component type: [generate stdin]")),
			ask("the same key twice", "POST /streams/twice", idleYAML+"output:\n  drop: {}\n", 200, nothing).
				except("duplicate-keys", 400, line("Error: ", "line 8", "output")),
			ask("delete it", "DELETE /streams/twice", "", 200, nothing).except("duplicate-keys", 404, has("Stream not found")),
			ask("a type field", "POST /streams/typed", "input:\n  generate: {mapping: 'root = {}'}\noutput:\n  type: drop\n", 200, nothing),
			ask("none other was made", "GET /streams", "", 200, sameStreams),
		}},
		{name: "chilled", steps: []step{
			ask("unknown fields", "POST /streams/a?chilled=true", idleYAML+"wat: 1\n", 200, nothing),
			ask("read them", "GET /streams/a", "", 200, sameStatus),
			ask("update", "PUT /streams/a?chilled=true", idleYAML+"wat: 2\n", 200, nothing),
			ask("read the update", "GET /streams/a", "", 200, sameStatus),
			ask("only true is true", "POST /streams/b?chilled=1", idleYAML+"wat: 1\n", 400, sameLints),
			ask("a label clash", "POST /streams/clash?chilled=true", `input:
  label: foo
  generate: {interval: 1h, mapping: "root = {}"}
output:
  label: foo
  drop: {}
`, 200, nothing),
			ask("not what cannot be built", "POST /streams/c?chilled=true",
				"input:\n  generate: {mapping: \"root = \"}\noutput:\n  drop: {}\n", 502, nothing).
				except("failed-build-is-400", 400, line("Error: ", "root.input", "failed to parse mapping")),
			ask("not what does not parse", "POST /streams/c?chilled=true", "{", 400, saying("Error: ", "line 1")),
		}},
		{name: "environment", steps: []step{
			ask("missing", "POST /streams/a", interval("${PENSTOCK_TEST_NOPE}"), 400,
				saying("Error: ", "required environment variables were not set: [PENSTOCK_TEST_NOPE]")),
			ask("missing, chilled", "POST /streams/a?chilled=true", interval("${PENSTOCK_TEST_NOPE}"), 200, nothing),
			ask("read it", "GET /streams/a", "", 200, sameStatus).theirs(active(true), jsonAt("", "config", "input", "generate", "interval")).
				except("config-keeps-variables", 200, active(true), jsonAt("${PENSTOCK_TEST_NOPE}", "config", "input", "generate", "interval")),
			ask("a default", "POST /streams/b", interval("${PENSTOCK_TEST_NOPE:5m}"), 200, nothing),
			ask("read the default", "GET /streams/b", "", 200, sameStatus).theirs(jsonAt("5m", "config", "input", "generate", "interval")).
				except("config-keeps-variables", 200, active(true), jsonAt("${PENSTOCK_TEST_NOPE:5m}", "config", "input", "generate", "interval")),
			ask("set", "POST /streams/c", interval("${"+intervalEnv+"}"), 200, nothing),
			ask("read what was set", "GET /streams/c", "", 200, sameStatus).theirs(jsonAt(intervalValue, "config", "input", "generate", "interval")).
				except("config-keeps-variables", 200, active(true), jsonAt("${"+intervalEnv+"}", "config", "input", "generate", "interval")),
			ask("update", "PUT /streams/c", interval("${PENSTOCK_TEST_NOPE:6m}"), 200, nothing),
			ask("update with a missing one", "PUT /streams/c", interval("${PENSTOCK_TEST_NOPE}"), 400,
				saying("Error: ", "PENSTOCK_TEST_NOPE")),
			ask("escaped", "POST /streams/d", echoMapping(`root = "${{PENSTOCK_TEST_NOPE}}"`), 200, nothing),
			ask("escaped is literal", "POST /d/post", "x", 200, sameWire).soon(),
			ask("a default is used", "POST /streams/e", echoMapping(`root = "${PENSTOCK_TEST_NOPE:hello}"`), 200, nothing),
			ask("as the value", "POST /e/post", "x", 200, sameWire).soon(),
			ask("in a patch", "PATCH /streams/b", "input: {generate: {interval: '${PENSTOCK_TEST_NOPE:7m}'}}", 502, nothing).
				except("patch-resolves-variables", 200, empty),
		}},
		{name: "anchors", steps: []step{
			ask("an alias", "POST /streams/a", `input:
  generate: &gen {interval: 1h, mapping: 'root = {}'}
pipeline:
  processors:
    - &map
      mapping: root = this
    - *map
output:
  drop: {}
`, 200, nothing),
			ask("read it", "GET /streams/a", "", 200, sameStatus),
			ask("a merge key", "POST /streams/b", mergeKeyYAML, 502, nothing).except("yaml-merge-keys", 200, empty),
			ask("read that", "GET /streams/b", "", 404, sameText).except("yaml-merge-keys", 200, active(true), mergedInterval),
			ask("an unknown field beside an alias", "POST /streams/c", `pipeline:
  processors:
    - &map
      mapping: root = this
    - *map
input:
  generate: {mapping: 'root = {}'}
output:
  drop: {}
nope: 1
`, 400, sameLints),
		}},
		{name: "hostile documents", steps: hostileSteps()},
	}
}

const kindsYAML = `
kinds:
  int: 1
  negative: -7
  float: 1.5
  exponent: 1e3
  hex: 0x10
  octal: 0o17
  grouped: 1_000
  agreed: yes
  bool: true
  nothing: ~
  empty:
  quoted: "1"
  multi: |
    one
      two
  folded: >-
    three
    four
  moment: 2001-12-14T21:59:43Z
  large: 9007199254740993
  list: [1, "a", {b: c}, []]
  unicode: "ä€😀"
  escaped: "tab\tnew\nline \u00e4 <&>"
`

const textYAML = `
input:
  generate:
    interval: 1h
    mapping: |
      # a comment of the mapping's own
      root.a = "quotes \" and \\ and ${! json() }"
      root.b = "it's <html> & ☃" + "\t"
output:
  drop: {}
`

const deepLintYAML = `
input:
  broker:
    inputs:
      - generate:
          mapping: root = {}
          interval: 1h
      - label: second
        generate:
          mapping: root = {}
          nope: 1
        processors:
          - switch:
              - check: 'true'
                processors:
                  - wat: {}
output:
  switch:
    cases:
      - check: root =
        output:
          drop: {}
`

const mergeKeyYAML = `
input:
  broker:
    inputs:
      - generate: &base
          interval: 1h
          mapping: root = {}
      - generate:
          <<: *base
          interval: 2h
output:
  drop: {}
`

// mergedInterval: the key that the second input has beside the merge key.
func mergedInterval(a answer) error {
	var s struct {
		Config struct {
			Input struct {
				Broker struct {
					Inputs []struct{ Generate map[string]string }
				}
			}
		}
	}
	if err := json.Unmarshal(a.Body, &s); err != nil {
		return err
	}
	want := []struct{ Generate map[string]string }{
		{map[string]string{"interval": "1h", "mapping": "root = {}"}},
		{map[string]string{"interval": "2h", "mapping": "root = {}"}},
	}
	if got := s.Config.Input.Broker.Inputs; !reflect.DeepEqual(got, want) {
		return fmt.Errorf("the inputs are %v", got)
	}
	return nil
}

func interval(value string) string {
	return "input:\n  generate: {mapping: 'root = {}', interval: \"" + value + "\"}\noutput:\n  drop: {}\n"
}

func echoMapping(mapping string) string {
	return "input:\n  http_server: {}\npipeline:\n  processors:\n    - mapping: '" + mapping + "'\noutput:\n  sync_response: {}\n"
}
