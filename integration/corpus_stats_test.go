package integration

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// statsScenarios: the flat statistics of ended streams, whose counters stand
// still, and of one that serves; then the tree.
func statsScenarios() []scenario {
	var steps []step
	for _, s := range []struct{ id, config string }{
		{"plain", `
input: {generate: {count: 3, interval: "", mapping: 'root.n = 1'}}
pipeline: {threads: 1, processors: [{mapping: root = this}]}
output: {drop: {}}
`},
		{"labels", `
input: {label: source, generate: {count: 2, interval: "", mapping: 'root.n = 1'}}
pipeline: {processors: [{label: same, mapping: root = this}, {label: gone, mapping: root = deleted()}]}
output: {label: sink, drop: {}}
`},
		{"broker", `
input:
  broker:
    inputs:
      - generate: {count: 2, interval: "", mapping: 'root.n = 1'}
      - label: second
        generate: {count: 3, interval: "", mapping: 'root.n = 2'}
        processors: [{mapping: root = this}]
pipeline: {processors: [{mapping: root = this}]}
output:
  broker:
    pattern: fan_out
    outputs: [{drop: {}}, {label: other, drop: {}, processors: [{mapping: root = this}]}]
`},
		{"switched", `
input: {generate: {count: 4, interval: "", mapping: 'root.n = counter()'}}
pipeline:
  processors:
    - switch: [{check: this.n > 2, processors: [{mapping: root.big = true}]}, {processors: [{mapping: root.big = false}]}]
    - branch: {request_map: root = this, processors: [{mapping: root = this}], result_map: root.branch = this}
    - try: [{mapping: 'root = throw("no")'}, {mapping: root = this}]
    - catch: [{mapping: root = this}]
output:
  switch:
    cases: [{check: this.n > 2, output: {drop: {}}}, {output: {label: small, drop: {}}}]
`},
		{"buffered", `
input: {generate: {count: 5, interval: "", mapping: 'root.n = 1'}}
buffer: {memory: {}}
output: {drop: {}}
`},
	} {
		steps = append(steps,
			ask("create "+s.id, "POST /streams/"+s.id, s.config, 200, nothing),
			ask(s.id+" ends", "GET /streams/"+s.id, "", 200, sameStatus).soon(active(false)),
			ask("flat stats of "+s.id, "GET /streams/"+s.id+"/stats?format=flat", "", 200, sameFlatStats),
		)
	}
	steps = append(steps,
		ask("create one that serves", "POST /streams/serving", `
input: {http_server: {}}
pipeline: {processors: [{mapping: root = content().uppercase()}]}
output: {label: answer, sync_response: {}}
`, 200, nothing),
		ask("its request", "POST /serving/post", "hello", 200, sameWire).soon(),
		ask("flat stats of what serves", "GET /streams/serving/stats?format=flat", "", 200, sameFlatStats).
			soon(has(`"output_sent{label=\"answer\",path=\"root.output\",stream=\"serving\"}":1`)),
		ask("create a resource", "POST /resources/cache/memo", "memory: {}", 200, nothing),
		ask("create one that uses it", "POST /streams/user", `
input: {generate: {count: 2, interval: "", mapping: 'root.n = 1'}}
pipeline: {processors: [{cache: {resource: memo, operator: set, key: k, value: v}}]}
output: {drop: {}}
`, 200, nothing),
		ask("it ends", "GET /streams/user", "", 200, sameStatus).soon(active(false)),
		ask("its flat stats", "GET /streams/user/stats?format=flat", "", 200, sameFlatStats),
		ask("stats", "GET /streams/plain/stats", "", 200, sameFlatStats).
			except("stats-tree", 200, jsonAt(3.0, "input", "received"), jsonAt("root.input", "input", "path"),
				jsonAt(3.0, "output", "sent"), has(`"uptime_ns":`, `"pipeline":`)),
	)
	return []scenario{{name: "stats", steps: steps}}
}

// sameSetAgain posts the set of stream a, as it is, and tells from a's uptime
// whether a was restarted.
func sameSetAgain(ctx context.Context, c *client) (string, error) {
	uptime := func() (time.Duration, error) {
		a, err := c.ask(ctx, request{Method: http.MethodGet, Path: "/streams/a"})
		if err != nil {
			return 0, err
		}
		var s status
		if err := json.Unmarshal(a.Body, &s); err != nil {
			return 0, err
		}
		return time.Duration(s.Uptime * float64(time.Second)), nil
	}
	var before time.Duration
	if err := poll(soonTimeout, func() (err error) {
		before, err = uptime()
		if err == nil && before < time.Second {
			err = errors.New("too young to tell")
		}
		return err
	}); err != nil {
		return "", err
	}
	a, err := c.ask(ctx, request{Method: http.MethodPost, Path: "/streams", Body: `{"a":` + idleJSON + `}`})
	if err != nil {
		return "", err
	}
	if a.Status != http.StatusOK {
		return "", fmt.Errorf("the set was refused: %s", a)
	}
	after, err := uptime()
	if err != nil {
		return "", err
	}
	if after < before {
		return "restarted", nil
	}
	return "ran on", nil
}
