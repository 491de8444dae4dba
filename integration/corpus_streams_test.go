package integration

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// streamScenarios: create, read, update, patch and delete of single streams.
func streamScenarios() []scenario {
	return []scenario{
		{name: "crud", steps: []step{
			ask("create from JSON", "POST /streams/json", idleJSON, 200, nothing),
			ask("create from YAML", "POST /streams/yaml", idleYAML, 200, nothing),
			ask("list", "GET /streams", "", 200, sameStreams),
			ask("read JSON", "GET /streams/json", "", 200, sameStatus),
			ask("read YAML", "GET /streams/yaml", "", 200, sameStatus),
			ask("ready", "GET /ready", "", 200, sameText).soon(),
			ask("create again", "POST /streams/json", idleJSON, 400, sameText),
			ask("create again, badly", "POST /streams/json", "{", 400, saying("Error: ", "line 1")),
			ask("update", "PUT /streams/json", strings.Replace(idleJSON, "1h", "2h", 1), 200, nothing),
			ask("read the update", "GET /streams/json", "", 200, sameStatus),
			ask("update with what does not parse", "PUT /streams/json", "{", 400, saying("Error: ", "line 1")),
			ask("update with what does not lint", "PUT /streams/json", idleYAML+"nope: 1\n", 400, sameLints),
			ask("neither touched it", "GET /streams/json", "", 200, sameStatus),
			ask("delete", "DELETE /streams/json", "", 200, nothing),
			ask("delete again", "DELETE /streams/json", "", 404, sameText),
			ask("read what is gone", "GET /streams/json", "", 404, sameText),
			ask("list the rest", "GET /streams", "", 200, sameStreams),
			ask("create under the old id", "POST /streams/json", endingYAML, 200, nothing),
		}},
		{name: "missing stream", steps: []step{
			ask("get", "GET /streams/nope", "", 404, sameText),
			ask("put", "PUT /streams/nope", idleJSON, 404, sameText),
			ask("put what does not parse", "PUT /streams/nope", "{", 400, saying("Error: ", "line 1")),
			ask("patch", "PATCH /streams/nope", "{}", 404, sameText),
			ask("patch with what does not parse", "PATCH /streams/nope", "{", 404, sameText),
			ask("delete", "DELETE /streams/nope", "", 404, sameText),
			ask("stats", "GET /streams/nope/stats", "", 404, sameText),
			ask("its ready", "GET /nope/ready", "", 404, sameText),
			ask("its endpoint", "POST /nope/post", "x", 404, sameText),
		}},
		{name: "verbs", steps: []step{
			ask("put the set", "PUT /streams", "{}", 400, sameText),
			ask("delete the set", "DELETE /streams", "", 400, sameText),
			ask("patch the set", "PATCH /streams", "{}", 400, sameText),
			ask("options of a stream", "OPTIONS /streams/a", "", 400, sameText),
			ask("post stats", "POST /streams/a/stats", "", 400, sameText),
			ask("delete stats", "DELETE /streams/a/stats", "", 400, sameText),
			ask("below a stream", "GET /streams/a/nope", "", 404, sameText),
		}},
		{name: "patch", steps: []step{
			ask("create", "POST /streams/a", `
input:
  generate: {interval: 1h, mapping: 'root = {}'}
pipeline:
  processors:
    - mapping: root.a = 1
    - mapping: root.b = 2
output:
  drop: {}
`, 200, nothing),
			ask("an object merges", "PATCH /streams/a", `{"input":{"generate":{"interval":"2h"}}}`, 200, nothing),
			ask("read the merge", "GET /streams/a", "", 200, sameStatus),
			ask("an array replaces", "PATCH /streams/a", "pipeline: {processors: [{mapping: root.c = 3}]}", 200, nothing),
			ask("read the replacement", "GET /streams/a", "", 200, sameStatus),
			ask("a key is added", "PATCH /streams/a", "buffer: {memory: {limit: 1000}}", 200, nothing),
			ask("a number for a string", "PATCH /streams/a", "input: {generate: {count: 0}}", 200, nothing),
			ask("read both", "GET /streams/a", "", 200, sameStatus),
			ask("null replaces", "PATCH /streams/a", "input: {label: ~}", 200, nothing),
			ask("read null", "GET /streams/a", "", 200, sameStatus),
			ask("an empty object changes nothing", "PATCH /streams/a", "{}", 200, nothing),
			ask("broken", "PATCH /streams/a", "{", 400, saying("Error: ")),
			ask("an unknown component beside the old", "PATCH /streams/a", "output: {nope: {}}", 200, nothing).
				except("patch-lints", 400, lint("nope")),
			ask("read it still", "GET /streams/a", "", 200, sameStatus).theirs(has(`"nope":`)).
				except("patch-lints", 200, lacks(`"nope":`)),
		}},
		{name: "patch that does not lint", steps: []step{
			ask("create", "POST /streams/a", idleYAML, 200, nothing),
			ask("an unknown field", "PATCH /streams/a", "input: {generate: {wat: 1}}", 200, nothing).
				except("patch-lints", 400, lint("field wat not recognised")),
			ask("an unknown field, chilled", "PATCH /streams/a?chilled=true", "input: {generate: {wat: 1}}", 200, nothing),
			ask("read it", "GET /streams/a", "", 200, sameStatus),
		}},
		{name: "build failures", steps: []step{
			ask("create", "POST /streams/new", badInterval, 502, nothing).
				except("failed-build-is-400", 400, line("Error: ", "root.input", "invalid duration")),
			ask("it was not created", "GET /streams/new", "", 404, sameText),
			ask("unknown component", "POST /streams/new", "input:\n  nope: {}\noutput:\n  drop: {}\n", 400, nothing).
				theirs(line("Error: (2,1) unable to infer input type from candidates: [nope]")).
				except("lints-before-parsing", 400, lint("(2,1) unable to infer component type: nope")),
			ask("unknown component, chilled", "POST /streams/new?chilled=true", "input:\n  nope: {}\noutput:\n  drop: {}\n", 400,
				saying("Error: ", "(2,1) unable to infer input type from candidates: [nope]")),
			ask("a stream that runs", "POST /streams/old", idleYAML, 200, nothing),
			ask("update it so that it cannot", "PUT /streams/old", badInterval, 502, nothing).
				except("failed-build-is-400", 400, line("Error: ", "root.input", "invalid duration")),
			ask("read it", "GET /streams/old", "", 404, sameText).
				except("failed-update-keeps-old", 200, active(true), jsonAt("1h", "config", "input", "generate", "interval")),
			ask("delete it", "DELETE /streams/old", "", 404, sameText).
				except("failed-update-keeps-old", 200, empty),
			ask("another stream that runs", "POST /streams/old", idleYAML, 200, nothing),
			ask("patch it so that it cannot", "PATCH /streams/old", "input: {generate: {interval: nope}}", 502, nothing).
				except("failed-build-is-400", 400, line("Error: ", "root.input", "invalid duration")),
			ask("read that", "GET /streams/old", "", 404, sameText).
				except("failed-update-keeps-old", 200, active(true), jsonAt("1h", "config", "input", "generate", "interval")),
		}},
		{name: "ended streams", steps: []step{
			ask("create", "POST /streams/brief", endingYAML, 200, nothing),
			ask("it ends", "GET /streams/brief", "", 200, sameStatus).soon(active(false)),
			ask("list", "GET /streams", "", 200, sameStreams),
			ask("ready does not count it", "GET /ready", "", 200, sameText),
			ask("its own ready does", "GET /brief/ready", "", 503, labelledJSON).theirs(jsonAt("stream terminated", "error")).
				except("ready-of-an-ended-stream", 503, has(`"error":`, "finished", `"statuses":[]`)),
			ask("update it", "PUT /streams/brief", idleYAML, 200, nothing),
			ask("it runs", "GET /streams/brief", "", 200, sameStatus).soon(active(true)),
			ask("and is ready", "GET /brief/ready", "", 200, sameJSON).soon(),
			ask("delete", "DELETE /streams/brief", "", 200, nothing),
			exchange("all is known once active is false", "20 of 20", endings(20)),
			ask("default input and output", "POST /streams/empty", "{}", 200, nothing),
			ask("standard input is at its end", "GET /streams/empty", "", 200, sameStatus).soon(active(false)),
		}},
		{name: "not connected", steps: []step{
			ask("create", "POST /streams/lost", lostYAML, 200, nothing),
			ask("it is active", "GET /streams/lost", "", 200, sameStatus),
			ask("ready names it", "GET /ready", "", 503, saying("streams lost are not connected")).soon().
				except("ready-says-why", 503, line("streams lost are not connected", "output", "connection refused")),
			ask("its own ready", "GET /lost/ready", "", 503, sameShape).soon(),
			ask("a healthy one beside", "POST /streams/fine", idleYAML, 200, nothing),
			ask("still not ready", "GET /ready", "", 503, saying("lost")).soon(lacks("fine")).
				except("ready-says-why", 503, line("lost"), lacks("fine")),
			ask("delete", "DELETE /streams/lost?timeout=2s", "", 200, nothing),
			ask("ready again", "GET /ready", "", 200, sameText).soon(),
		}},
		{
			name:         "blocked output",
			penstockArgs: quickStop,
			steps: []step{
				ask("create", "POST /streams/stuck", stuckYAML, 200, nothing),
				ask("it has a message in flight", "GET /streams/stuck/stats?format=flat", "", 200, sameFlatStats).
					soon(has(`"processor_received{label=\"\",path=\"root.pipeline.processors.0\",stream=\"stuck\"}":1`)),
				ask("a timeout bounds the update", "PUT /streams/stuck?timeout=500ms", stuckYAML, 200, nothing),
				ask("a timeout bounds the delete", "DELETE /streams/stuck?timeout=500ms", "", 200, nothing),
				ask("create again", "POST /streams/stuck", stuckYAML, 200, nothing),
				ask("a timeout that is none", "PUT /streams/nope?timeout=soon", idleYAML, 404, sameText),
				exchange("delete without a timeout", "no answer within 4s", answered(4*time.Second, request{Method: http.MethodDelete, Path: "/streams/stuck"})).
					exceptOutcome("stops-always-end", "200"),
			},
		},
		{name: "ids", steps: idSteps()},
	}
}

const (
	badInterval = `{"input":{"generate":{"interval":"nope","mapping":"root = {}"}},"output":{"drop":{}}}`

	// Port 1 of the loopback has no listener.
	lostYAML = `
input:
  generate: {interval: 1h, mapping: 'root = {}'}
output:
  websocket:
    url: ws://127.0.0.1:1/nowhere
`
	stuckYAML = `
input:
  generate: {interval: "", mapping: 'root = {}'}
pipeline:
  threads: 1
  processors:
    - sleep: {duration: 1h}
output:
  drop: {}
`
)

// quickStop bounds the stop of streams that do not drain: blocked ones, and
// those with an http_server output that nobody reads.
var quickStop = []string{"--set", "timeouts.stop=2s", "--set", "timeouts.shutdown=2s"}

// answered is the status of a request's answer, or that there was none in
// time.
func answered(limit time.Duration, r request) func(context.Context, *client) (string, error) {
	return func(ctx context.Context, c *client) (string, error) {
		ctx, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		a, err := c.ask(ctx, r)
		if errors.Is(err, context.DeadlineExceeded) {
			return "no answer within " + limit.String(), nil
		}
		if err != nil {
			return "", err
		}
		return fmt.Sprint(a.Status), nil
	}
}

// lacks: a body without the text.
func lacks(text string) check {
	return func(a answer) error {
		if strings.Contains(string(a.Body), text) {
			return errors.New("unexpected " + text)
		}
		return nil
	}
}

// endings lets n streams run to their end, one by one, and counts those of
// which, as soon as they were inactive, /ready took no notice any more and the
// statistics were there.
func endings(n int) func(context.Context, *client) (string, error) {
	return func(ctx context.Context, c *client) (string, error) {
		good := 0
		for i := range n {
			path := fmt.Sprintf("/streams/ending%d", i)
			get := func(path string) (answer, error) { return c.ask(ctx, request{Method: http.MethodGet, Path: path}) }
			if _, err := c.ask(ctx, request{Method: http.MethodPost, Path: path, Body: endingYAML}); err != nil {
				return "", err
			}
			if err := poll(soonTimeout, func() error {
				a, err := get(path)
				return errors.Join(err, active(false)(a))
			}); err != nil {
				return "", err
			}
			ready, err := get("/ready")
			if err != nil {
				return "", err
			}
			stats, err := get(path + "/stats?format=flat")
			if err != nil {
				return "", err
			}
			if ready.Status == http.StatusOK && has(`"output_sent{`)(stats) == nil {
				good++
			}
		}
		return fmt.Sprintf("%d of %d", good, n), nil
	}
}

func idSteps() []step {
	const bad = "stream-ids"
	long := strings.Repeat("x", 128)
	return []step{
		ask("every character allowed", "POST /streams/A-z_0.9", idleYAML, 200, nothing),
		ask("read it", "GET /streams/A-z_0.9", "", 200, sameStatus),
		ask("its endpoints", "GET /A-z_0.9/ready", "", 200, sameJSON).soon(),
		ask("128 characters", "POST /streams/"+long, idleYAML, 200, nothing),
		ask("read them", "GET /streams/"+long, "", 200, sameStatus),
		ask("129 characters", "POST /streams/x"+long, idleYAML, 200, nothing).except(bad, 400, line("id")),
		ask("a leading dot", "POST /streams/.hidden", idleYAML, 200, nothing).except(bad, 400, line("id")),
		ask("a space", "POST /streams/a%20b", idleYAML, 200, nothing).except(bad, 400, line("id")),
		ask("not ASCII", "POST /streams/%C3%A4", idleYAML, 200, nothing).except(bad, 400, line("id")),
		ask("a colon", "POST /streams/a:b", idleYAML, 200, nothing).except(bad, 400, line("id")),
		ask("a slash", "POST /streams/a%2Fb", idleYAML, 404, sameText).except(bad, 400, line("id")),
		ask("in a set", "POST /streams", `{"a b": `+idleJSON+`}`, 200, nothing).except(bad, 400, line("a b")),
		ask("id of an API path", "POST /streams/ping", idleYAML, 200, nothing),
		ask("the API's path is still its own", "GET /ping", "", 200, sameText),
		ask("and the stream has its", "GET /ping/ready", "", 200, sameJSON).soon(),
	}
}
