package integration

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// finishTimeout bounds the end of a stream whose input has an end.
const finishTimeout = 30 * time.Second

// awaitFinished waits for a stream to end by itself and for its runner to be
// gone. The stream's last statistics stay.
func (p *penstock) awaitFinished(t *testing.T, id string) {
	t.Helper()
	await(t, finishTimeout, "the end of stream "+id, func() error {
		a, err := p.ask(t.Context(), request{Method: http.MethodGet, Path: "/streams/" + id})
		if err != nil {
			return fmt.Errorf("%w: %w", errHopeless, err)
		}
		return active(false)(a)
	})
	await(t, finishTimeout, "the end of its runner", func() error {
		if left := p.runners(); len(left) > 0 {
			return fmt.Errorf("still there: %v", left)
		}
		return nil
	})
	p.expect(t, http.StatusOK, http.MethodGet, "/ready", "")
}

// writeFile makes a file in a folder of the test's own.
func writeFile(t *testing.T, name, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	return file
}

// quoted is a YAML scalar of any text.
func quoted(text string) string {
	b, err := json.Marshal(text)
	if err != nil {
		panic(err) // Strings are always JSON.
	}
	return string(b)
}

func readText(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	return string(text)
}

// sameLines compares two long texts by their first difference.
func sameLines(t *testing.T, want, got string) {
	t.Helper()
	if want == got {
		return
	}
	wants, gots := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range min(len(wants), len(gots)) {
		require.Equal(t, wants[i], gots[i], "line %d", i+1)
	}
	require.Equal(t, len(wants), len(gots), "number of lines")
}

func TestRealFileToFile(t *testing.T) {
	t.Parallel()
	const lines = 10_000
	var in, want strings.Builder
	for i := range lines {
		text := fmt.Sprintf("%d\tzażółć gęślą jaźń 漢字 😀 \"quoted\" \\ %s", i, strings.Repeat("~", i%97))
		fmt.Fprintf(&in, "%s\n", text)
		fmt.Fprintf(&want, "%d → %s\n", i+1, text)
	}
	source := writeFile(t, "in ünï.txt", in.String())
	target := filepath.Join(t.TempDir(), "made", "out.txt")

	p := startPenstock(t)
	// One thread, since the engine keeps the order of messages in no other way.
	p.expect(t, http.StatusOK, http.MethodPost, "/streams/copy", `
input:
  file: {paths: [`+quoted(source)+`]}
pipeline:
  threads: 1
  processors:
    - mapping: 'root = counter().string() + " → " + content().string()'
output:
  file: {path: `+quoted(target)+`, codec: lines}
`)
	p.awaitFinished(t, "copy")
	sameLines(t, want.String(), readText(t, target))
	a := p.expect(t, http.StatusOK, http.MethodGet, "/streams/copy/stats", "")
	assert.NoError(t, jsonAt(float64(lines), "input", "received")(a), "%s", a)
	assert.NoError(t, jsonAt(float64(lines), "output", "sent")(a), "%s", a)
}

func TestRealCSVToJSON(t *testing.T) {
	t.Parallel()
	var in, want strings.Builder
	rows := csv.NewWriter(&in)
	require.NoError(t, rows.Write([]string{"id", "name", "note"}))
	for i := range 1000 {
		name, note := fmt.Sprintf("Łukasz, №%d", i), fmt.Sprintf("says \"%d\"\nand goes", i)
		require.NoError(t, rows.Write([]string{fmt.Sprint(i), name, note}))
		line, err := json.Marshal(map[string]any{"id": i, "name": name, "note": note})
		require.NoError(t, err)
		fmt.Fprintf(&want, "%s\n", line)
	}
	rows.Flush()
	target := filepath.Join(t.TempDir(), "out.ndjson")

	p := startPenstock(t)
	p.expect(t, http.StatusOK, http.MethodPost, "/streams/rows", `
input:
  csv: {paths: [`+quoted(writeFile(t, "in.csv", in.String()))+`]}
pipeline:
  threads: 1
  processors:
    - mapping: |
        root = this
        root.id = this.id.number()
output:
  file: {path: `+quoted(target)+`, codec: lines}
`)
	p.awaitFinished(t, "rows")
	sameLines(t, want.String(), readText(t, target))
}

// sink takes messages over HTTP and refuses each of them once.
type sink struct {
	*httptest.Server

	mu       sync.Mutex
	refused  map[string]bool
	accepted []string
}

func newSink(t *testing.T) *sink {
	s := &sink{refused: map[string]bool{}}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

// ServeHTTP implements http.Handler.
func (s *sink) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	s.mu.Lock()
	defer s.mu.Unlock()
	text := r.Header.Get("X-Number") + " " + string(body)
	if err != nil || !s.refused[text] {
		s.refused[text] = true
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	s.accepted = append(s.accepted, text)
}

func TestRealHTTPToHTTP(t *testing.T) {
	t.Parallel()
	const clients, each = 8, 50
	sink := newSink(t)
	p := startPenstock(t)
	p.expect(t, http.StatusOK, http.MethodPost, "/streams/relay", `
input:
  http_server: {path: /in}
pipeline:
  processors:
    - mapping: |
        root.text = this.text.uppercase()
        meta number = this.number
output:
  http_client:
    url: `+quoted(sink.URL+"/deep/path?a=b")+`
    verb: PUT
    headers: {X-Number: '${! @number }'}
    retry_period: 1ms
    max_in_flight: 16
`)
	var want []string
	var group sync.WaitGroup
	errs := make(chan error, clients)
	for c := range clients {
		for i := range each {
			want = append(want, fmt.Sprintf(`%d {"text":"ŻÓŁW 漢 %d"}`, c*each+i, c))
		}
		group.Go(func() {
			for i := range each {
				body := fmt.Sprintf(`{"number":%d,"text":"żółw 漢 %d"}`, c*each+i, c)
				a, err := p.ask(t.Context(), request{Method: http.MethodPost, Path: "/relay/in", Body: body})
				if err == nil && a.Status != http.StatusOK {
					err = fmt.Errorf("message %s: %s", body, a)
				}
				if err != nil {
					errs <- err
					return
				}
			}
		})
	}
	group.Wait()
	close(errs)
	for err := range errs {
		assert.NoError(t, err)
	}
	// Every answer came after its message was delivered: nothing to wait for.
	sink.mu.Lock()
	defer sink.mu.Unlock()
	assert.ElementsMatch(t, want, sink.accepted)
	p.expect(t, http.StatusOK, http.MethodDelete, "/streams/relay", "")
}

func TestRealHTTPClientToFile(t *testing.T) {
	t.Parallel()
	const messages = 500
	ctx, release := context.WithCancel(t.Context())
	var mu sync.Mutex
	next := 0
	source := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		n := next
		next++
		mu.Unlock()
		if n < messages {
			fmt.Fprintf(w, `{"n":%d,"as":%q,"text":"žluťoučký 🐎"}`, n, r.Header.Get("X-As"))
			return
		}
		// There is no more: as a long poll, this waits with nothing to say.
		select {
		case <-ctx.Done():
		case <-r.Context().Done():
		}
		w.WriteHeader(http.StatusNoContent)
	}))
	t.Cleanup(source.Close)
	t.Cleanup(release)
	target := filepath.Join(t.TempDir(), "out.ndjson")
	var want strings.Builder
	for n := range messages {
		fmt.Fprintf(&want, `{"as":"poller","n":%d,"text":"žluťoučký 🐎"}`+"\n", n)
	}

	p := startPenstock(t)
	p.expect(t, http.StatusOK, http.MethodPost, "/streams/poll", `
input:
  http_client:
    url: `+quoted(source.URL)+`
    headers: {X-As: poller}
    timeout: 60s
pipeline:
  threads: 1
  processors:
    - mapping: root = this
output:
  file: {path: `+quoted(target)+`, codec: lines}
`)
	await(t, finishTimeout, "all messages in the file", func() error {
		text, err := os.ReadFile(target)
		if err == nil && strings.Count(string(text), "\n") < messages {
			err = fmt.Errorf("%d bytes so far", len(text))
		}
		return err
	})
	sameLines(t, want.String(), readText(t, target))
	p.expect(t, http.StatusOK, http.MethodGet, "/ready", "")
	p.expect(t, http.StatusOK, http.MethodDelete, "/streams/poll?timeout=5s", "")
	sameLines(t, want.String(), readText(t, target))
}

// A secret of the server's environment reaches the streams that name it, and
// no answer and no log of the server.
func TestRealEnvironment(t *testing.T) {
	const name, secret = "PENSTOCK_IT_SECRET", "hunter2 \"ü\" #x"
	t.Setenv(name, secret)
	file := filepath.Join(t.TempDir(), "secret.yaml")
	require.NoError(t, os.WriteFile(file, []byte(`
input:
  http_server: {}
pipeline:
  processors:
    - mapping: 'root = "given by file"'
output:
  sync_response: {}
  processors:
    - mapping: 'root = content() + " " + env("PENSTOCK_IT_SECRET")'
`), 0o600))

	p := startPenstock(t, file)
	p.expect(t, http.StatusOK, http.MethodPost, "/resources/processor/sign", `
mapping: |
  root.text = """${PENSTOCK_IT_SECRET}"""
  root.other = "${PENSTOCK_IT_UNSET:fallback}"
`)
	const config = `
input:
  http_server: {path: "/${PENSTOCK_IT_PATH:post}"}
pipeline:
  processors:
    - resource: sign
    - mapping: |
        root = this
        root.again = """${PENSTOCK_IT_SECRET}"""
output:
  sync_response: {}
`
	p.expect(t, http.StatusOK, http.MethodPost, "/streams/env", config)
	want := map[string]any{"text": secret, "other": "fallback", "again": secret}
	a := p.expect(t, http.StatusOK, http.MethodPost, "/env/post", "x")
	got, err := a.JSON()
	require.NoError(t, err)
	assert.Equal(t, want, got)
	a = p.expect(t, http.StatusOK, http.MethodPost, "/secret/post", "x")
	assert.Equal(t, "given by file "+secret, string(a.Body))

	p.expect(t, http.StatusOK, http.MethodPatch, "/streams/env", `{"pipeline":{"threads":2}}`)
	p.expect(t, http.StatusOK, http.MethodPost, "/env/post", "x")
	answers := map[string]answer{}
	for _, path := range []string{
		"/streams", "/streams/env", "/streams/secret", "/streams/env/stats", "/streams/env/stats?format=flat",
		"/resources", "/resources/processor/sign", "/endpoints", "/env/ready", "/ready",
	} {
		answers[path] = p.expect(t, http.StatusOK, http.MethodGet, path, "")
		assert.NotContains(t, string(answers[path].Body), "hunter2", path)
	}
	for _, path := range []string{"/streams/env", "/resources/processor/sign"} {
		assert.Contains(t, string(answers[path].Body), "${"+name+"}", path)
	}
	assert.NoError(t, jsonAt("/${PENSTOCK_IT_PATH:post}", "config", "input", "http_server", "path")(answers["/streams/env"]))
	p.stop(t)
	assert.NotContains(t, readText(t, p.LogFile), "hunter2")
}

// Ten streams read and write at once, and each file is whole.
func TestRealManyFilesAtOnce(t *testing.T) {
	t.Parallel()
	const streams, lines = 10, 500
	p := startPenstock(t)
	dir := t.TempDir()
	set, wants := map[string]any{}, map[string]string{}
	for s := range streams {
		id := fmt.Sprintf("s%d", s)
		var in strings.Builder
		for i := range lines {
			fmt.Fprintf(&in, "%s line %d\n", id, i)
		}
		wants[id] = strings.ToUpper(in.String())
		source := filepath.Join(dir, id+".in")
		require.NoError(t, os.WriteFile(source, []byte(in.String()), 0o600))
		set[id] = map[string]any{
			"input":    map[string]any{"file": map[string]any{"paths": []string{source}}},
			"pipeline": map[string]any{"threads": 1, "processors": []any{map[string]any{"mapping": "root = content().uppercase()"}}},
			"output":   map[string]any{"file": map[string]any{"path": filepath.Join(dir, id+".out"), "codec": "lines"}},
		}
	}
	body, err := json.Marshal(set)
	require.NoError(t, err)
	p.expect(t, http.StatusOK, http.MethodPost, "/streams", string(body))
	await(t, finishTimeout, "the end of all streams", func() error {
		a, err := p.ask(t.Context(), request{Method: http.MethodGet, Path: "/streams"})
		if err != nil {
			return err
		}
		var all map[string]status
		if err := json.Unmarshal(a.Body, &all); err != nil || len(all) != streams {
			return fmt.Errorf("%w: %w: %s", errHopeless, err, a)
		}
		var errs []error
		for id, s := range all {
			if s.Active {
				errs = append(errs, fmt.Errorf("%s is active", id))
			}
		}
		return errors.Join(errs...)
	})
	for id, want := range wants {
		sameLines(t, want, readText(t, filepath.Join(dir, id+".out")))
	}
}
