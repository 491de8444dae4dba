package integration

import (
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// configCases are the configs that run, most of them with no server but the
// test's own; those that need another are in brokerCases.
var configCases = map[string]configCase{
	"filtering": {
		Feed: []string{`{"id":1,"total":250}`, `{"id":2,"total":99}`, `{"id":3}`},
		Got:  map[string][]string{"/orders": {`{"id":1,"seen_by":"filter","total":250}`}},
	},
	"sampling": {Check: checkSampling},
	"switch_output": {
		Feed:  []string{`{"kind":"order","n":1}`, `{"kind":"click","n":2}`, `{"kind":"?","n":3}`},
		Got:   map[string][]string{"/orders": {`{"kind":"order","n":1}`}, "/clicks": {`{"kind":"click","n":2}`}},
		Files: map[string]string{"unknown.jsonl": `{"kind":"?","n":3}` + "\n"},
	},
	"dedupe": {
		Feed: []string{`{"id":"a"}`, `{"id":"b"}`, `{"id":"a"}`},
		Got:  map[string][]string{"/events": {`{"id":"a"}`, `{"id":"b"}`}},
	},
	"enrichment": {
		Feed:  []string{`{"customer":7,"cents":250}`},
		Serve: map[string]string{"/customer": `{"name":"Ada"}`},
		Got:   map[string][]string{"/customer": {`{"id":7}`}, "/purchases": {`{"cents":250,"customer":{"name":"Ada"}}`}},
	},
	"workflow": {
		Feed: []string{`{"text":"so it goes"}`},
		Got:  map[string][]string{"/summaries": {`{"summary":"3: SO IT GOES"}`}},
	},
	"joining": {
		Feed: []string{`{"type":"article","id":"7","title":"On Tea"}`, `{"type":"comment","article":"7","text":"yes"}`},
		Got:  map[string][]string{"/comments": {`{"article":"7","text":"yes","title":"On Tea","type":"comment"}`}},
	},
	"stateful_polling": {
		Serve: map[string]string{"/since/0": `{"next":"7","new":["a"]}`, "/since/7": `{"next":"9","new":["b"]}`, "/since/9": `{"next":"9","new":[]}`},
		Got:   map[string][]string{"/news": {`{"next":"7","new":["a"]}`, `{"next":"9","new":["b"]}`, `{"next":"9","new":[]}`}},
	},
	"batching": {
		Got: map[string][]string{"/batches": {numbers(1, 10), numbers(11, 20), numbers(21, 25)}},
	},
	"window": {Check: checkWindow},
	"csv_to_json": {
		Given: map[string]string{"rows.csv": "name,age\nAda,36\n\"Bo, the son\",7\n"},
		Got:   map[string][]string{"/rows": {`{"age":36,"name":"Ada"}`, `{"age":7,"name":"Bo, the son"}`}},
	},
	"dead_letters": {
		Feed:  []string{"no"},
		Serve: map[string]string{"/refused": ""},
		Files: map[string]string{"dead.jsonl": `{"failed":true,"message":"no"}` + "\n"},
	},
	"error_handling": {
		Feed: []string{`{"prices":[1,2]}`, `not JSON`, `{"prices":[1001]}`},
		Told: []string{`{"total":3}`, `{"error":"not acceptable"}`, `{"error":"not acceptable"}`},
	},
	"access_log": {
		Feed: []string{
			`10.0.0.9 - - [22/Nov/2026:13:00:00 +0000] "GET /tea HTTP/1.1" 200 512` + "\n" +
				`10.0.0.7 - - [22/Nov/2026:13:00:01 +0000] "POST /pay HTTP/1.1" 503 12`,
		},
		Got: map[string][]string{"/failures": {`{"bytes":12,"client":"10.0.0.7","path":"/pay","status":503,"verb":"POST"}`}},
	},
	"jq": {
		Feed: []string{`{"people":[{"name":"Ada","age":36},{"name":"Bo","age":7}]}`},
		Told: []string{`{"count":2,"names":["Ada"]}`},
	},
	"json_schema": {Check: checkSchema},
	"group_by": {
		Feed:  []string{`[{"country":"no","n":1},{"country":"pl","n":2},{"country":"no","n":3}]`},
		Files: map[string]string{"no.jsonl": `{"country":"no","n":1}` + "\n" + `{"country":"no","n":3}` + "\n", "pl.jsonl": `{"country":"pl","n":2}` + "\n"},
	},
	"cached_lookup": {
		Feed:  []string{`{"city":"Oslo"}`, `{"city":"Rome"}`, `{"city":"Oslo"}`},
		Serve: map[string]string{"/weather": "rain"},
		Told:  []string{"rain", "rain", "rain"},
		Got:   map[string][]string{"/weather": {`{"city":"Oslo"}`, `{"city":"Rome"}`}},
	},
	"paging": {
		Serve: map[string]string{"/page/1": `{"next":"2","entries":[1,2]}`, "/page/2": `{"next":"","entries":[3]}`},
		Got:   map[string][]string{"/list": {"[1,2,3]"}},
	},
	"archives": {
		Feed:  []string{`{"a":{"n":1},"b":{"n":2}}`},
		Check: checkArchive,
	},
	"rate_limit": {Check: checkPace},
	"sequence": {
		Given: map[string]string{"names.csv": "id,name\n1,Ada\n2,Bo\n", "towns.csv": "id,town\n2,Oslo\n3,Rome\n"},
		Got:   map[string][]string{"/joined": {`{"id":"1","name":"Ada"}`, `{"id":"2","name":"Bo","town":"Oslo"}`, `{"id":"3","town":"Rome"}`}},
	},
	"fan_out": {
		Feed: []string{`{"name":"Ada","age":36}`},
		Got:  map[string][]string{"/whole": {`{"name":"Ada","age":36}`}, "/names": {`{"name":"Ada"}`}},
	},
	"read_until": {
		Given: map[string]string{"report.txt": "one\ntwo\nEND\nthree\n"},
		Got:   map[string][]string{"/lines": {"one", "two"}},
	},
	"site_analytics": {
		Feed: []string{`{"page":"/tea","agent":"Mozilla/5.0 Firefox/131","ip":"10.0.0.9","session":"x"}`},
		Got:  map[string][]string{"/visits": {`{"browser":"firefox","page":"/tea"}`}},
	},
	"avro": {
		Feed: []string{`{"sensor":"a","value":3}`},
		Told: []string{`{"avro":"026106"}`},
	},
	"msgpack": {
		Feed: []string{`{"a":"b"}`},
		Told: []string{"\x81\xa1a\xa1b"},
	},
	"parquet": {
		Feed: []string{`[{"id":1,"name":"Ada"},{"id":2,"name":"żółw"}]`},
		Told: []string{`[{"id":1,"name":"Ada"},{"id":2,"name":"żółw"}]`},
	},
	"xml": {
		Feed: []string{`<order id="7"><what>tea</what></order>`},
		Told: []string{`{"order":{"-id":"7","what":"tea"}}`},
	},
	"awk": {
		Feed: []string{"one two\nthree"},
		Told: []string{"words: 3"},
	},
	"javascript": {
		Feed: []string{`{"lines":[{"count":2,"cents":250},{"count":1,"cents":400}]}`},
		Told: []string{`{"lines":[{"cents":250,"count":2},{"cents":400,"count":1}],"total":900}`},
	},
	"sqlite": {
		Feed: []string{`{"page":"/tea"}`, `{"page":"/cake"}`, `{"page":"/tea"}`},
		Told: []string{`[{"page":"/tea","visits":1}]`, `[{"page":"/cake","visits":1},{"page":"/tea","visits":1}]`, `[{"page":"/cake","visits":1},{"page":"/tea","visits":2}]`},
	},
	"sqlite_buffer": {
		Feed: []string{`{"n":1}`, `{"n":2}`},
		Got:  map[string][]string{"/late": {`{"n":1}`, `{"n":2}`}},
	},
}

// numbers is the JSON array of {"n":first} to {"n":last}.
func numbers(first, last int) string {
	var list []map[string]int
	for n := first; n <= last; n++ {
		list = append(list, map[string]int{"n": n})
	}
	text, _ := json.Marshal(list)
	return string(text)
}

// checkSampling: of each user all messages come, or none.
func checkSampling(t *testing.T, run *configRun) {
	const users, each = 16, 3
	for range each {
		for user := range users {
			run.expect(t, 200, "POST", "/sampling/post", fmt.Sprintf(`{"user":"user-%d"}`, user))
		}
	}
	got := map[string]int{}
	for _, message := range run.web.posted("/sample") {
		got[message]++
	}
	assert.NotEmpty(t, got)
	assert.Less(t, len(got), users)
	for user, times := range got {
		assert.Equal(t, each, times, user)
	}
}

// checkWindow: each window counts its own, and none is left out.
func checkWindow(t *testing.T, run *configRun) {
	var all sync.WaitGroup
	for i := range 9 {
		all.Go(func() {
			a, err := run.ask(t.Context(), request{Method: http.MethodPost, Path: "/window/post", Body: fmt.Sprintf(`{"path":"/%d"}`, i%3)})
			if assert.NoError(t, err) {
				assert.Equal(t, 200, a.Status, a)
			}
		})
	}
	all.Wait()
	requests := map[string]int{}
	for _, message := range run.web.posted("/windows") {
		var window struct {
			Path     string
			Requests int
		}
		require.NoError(t, json.Unmarshal([]byte(message), &window))
		requests[window.Path] += window.Requests
	}
	assert.Equal(t, map[string]int{"/0": 3, "/1": 3, "/2": 3}, requests)
}

// checkSchema: what is not as agreed is refused with a status of its own.
func checkSchema(t *testing.T, run *configRun) {
	assert.JSONEq(t, `{"name":"Ada","age":36}`, run.expect(t, 200, "POST", "/json_schema/post", `{"name":"Ada","age":36}`).Text())
	assert.Equal(t, "not as agreed", run.expect(t, 422, "POST", "/json_schema/post", `{"age":-1}`).Text())
}

// checkArchive: the file holds what belongs together.
func checkArchive(t *testing.T, run *configRun) {
	files := untar(t, run.dir+"/packed.tar.gz")
	assert.Equal(t, map[string]string{"a.json": `{"n":1}`, "b.json": `{"n":2}`}, files)
}

// checkPace: twelve calls, five in half a second, take at least a second but for
// what the clock's first window had left.
func checkPace(t *testing.T, run *configRun) {
	await(t, configTimeout, "all calls", func() error {
		if n := len(run.web.posted("/called")); n != 12 {
			return fmt.Errorf("there were %d", n)
		}
		return nil
	})
	run.web.mu.Lock()
	defer run.web.mu.Unlock()
	assert.GreaterOrEqual(t, run.web.at[10].Sub(run.web.at[0]), 450*time.Millisecond)
	assert.GreaterOrEqual(t, run.web.at[11].Sub(run.web.at[1]), 450*time.Millisecond)
}
