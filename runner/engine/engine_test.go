package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	_ "github.com/redpanda-data/benthos/v4/public/components/io"
	_ "github.com/redpanda-data/benthos/v4/public/components/pure"

	"penstock/rpc"
	"penstock/runner/share"
)

// patience bounds every wait of these tests.
const patience = time.Minute

func prepare(t *testing.T, config string, change ...func(*rpc.PrepareRequest)) (*Stream, error) {
	t.Helper()
	req := rpc.PrepareRequest{StreamID: "foo", Config: []byte(config), PrefixEndpoints: true}
	for _, c := range change {
		c(&req)
	}
	s, err := Prepare(req, slog.New(slog.DiscardHandler), share.NewLink())
	if s != nil {
		t.Cleanup(func() {
			s.Run()
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			_ = s.Stop(ctx)
		})
	}
	return s, err
}

func rejected(t *testing.T, err error) *rpc.Rejection {
	t.Helper()
	var r *rpc.Rejection
	require.ErrorAs(t, err, &r)
	return r
}

func awaitDone(t *testing.T, s *Stream) {
	t.Helper()
	select {
	case <-s.Done():
	case <-time.After(patience):
		t.Fatal("the stream does not end")
	}
}

func TestNothingRunsBeforeRun(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	s, err := prepare(t, fmt.Sprintf(`
input: {generate: {count: 3, interval: "", mapping: 'root = "x"'}}
output: {file: {path: %q, codec: lines}}
`, out))
	require.NoError(t, err)
	for _, m := range s.Metrics() {
		assert.Zero(t, m.Number, m.Name)
	}
	assert.NoFileExists(t, out)
	s.Run()
	s.Run()
	awaitDone(t, s)
	require.NoError(t, s.Err())
	data, err := os.ReadFile(out)
	require.NoError(t, err)
	assert.Equal(t, "x\nx\nx\n", string(data))

	received := map[string]int64{}
	for _, m := range s.Metrics() {
		received[m.Name] += m.Number
	}
	assert.EqualValues(t, 3, received["input_received"])
	assert.EqualValues(t, 3, received["output_sent"])
}

func TestStopBeforeRunEndsNothing(t *testing.T) {
	s, err := prepare(t, `{input: {generate: {mapping: root = 1}}, output: {drop: {}}}`)
	require.NoError(t, err)
	assert.ErrorIs(t, s.Stop(context.Background()), errStopped)
}

// TestReadyOfAComponentIsNotTheStreams covers an http_server whose path is
// /ready too: the build must not count as done when that one registers.
func TestReadyOfAComponentIsNotTheStreams(t *testing.T) {
	s, err := prepare(t, `{input: {http_server: {path: /ready}}, output: {drop: {}}}`)
	require.NoError(t, err)
	s.Run()
	// The stream's comes last and wins, as upstream.
	require.Eventually(t, func() bool { r, err := s.Ready(); return err == nil && r.Ready }, patience, 5*time.Millisecond)
	rec := httptest.NewRecorder()
	s.Handler().ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/foo/ready", nil))
	assert.Equal(t, http.StatusOK, rec.Code)
	assert.Contains(t, rec.Body.String(), `"statuses"`)

	_, err = prepare(t, `{input: {http_server: {path: /ready, rate_limit: nope}}, output: {drop: {}}}`)
	assert.Contains(t, rejected(t, err).Message, "rate limit resource 'nope' was not found")
}

func TestRejections(t *testing.T) {
	t.Run("lint", func(t *testing.T) {
		_, err := prepare(t, "input:\n  generate:\n    mapping: root = 1\n    nope: 1\noutput: {drop: {}}\n")
		assert.Equal(t, []rpc.Lint{{Line: 4, Column: 1, Message: "field nope not recognised"}}, rejected(t, err).Lints)
	})
	t.Run("the same twice on a line", func(t *testing.T) {
		_, err := prepare(t, "input: {generate: {mapping: root = 1}}\npipeline: {processors: [{noop: {}, nope: 1}, {noop: {}, nope: 1}]}\noutput: {drop: {}}\n")
		assert.Len(t, rejected(t, err).Lints, 2, "as upstream")
	})
	t.Run("invalid option", func(t *testing.T) {
		// The engine types this lint as a missing variable.
		_, err := prepare(t, "input: {generate: {mapping: root = 1}}\noutput: {broker: {pattern: nope, outputs: [{drop: {}}]}}\n")
		assert.Equal(t, []rpc.Lint{{Line: 2, Column: 1, Message: "value nope is not a valid option for this field"}}, rejected(t, err).Lints)
	})
	t.Run("empty", func(t *testing.T) {
		_, err := prepare(t, "")
		assert.Equal(t, []rpc.Lint{{Line: 0, Column: 1, Message: "expected object value, got !!null"}}, rejected(t, err).Lints)
	})
	t.Run("chilled", func(t *testing.T) {
		_, err := prepare(t, "nope: 1\ninput: {generate: {mapping: root = 1}}\noutput: {drop: {}}\n",
			func(r *rpc.PrepareRequest) { r.Chilled = true })
		assert.NoError(t, err)
	})
	t.Run("tests section", func(t *testing.T) {
		const config = "input: {generate: {mapping: root = 1}}\noutput: {drop: {}}\ntests: [{name: x}]\n"
		_, err := prepare(t, config)
		assert.Equal(t, rpc.RejectLint, rejected(t, err).Kind)
		_, err = prepare(t, config, func(r *rpc.PrepareRequest) { r.AllowTests = true })
		assert.NoError(t, err)
	})
	t.Run("unreadable", func(t *testing.T) {
		_, err := prepare(t, "input: [")
		assert.Equal(t, rpc.RejectBuild, rejected(t, err).Kind)
	})
	t.Run("missing variable", func(t *testing.T) {
		const config = "input: {generate: {mapping: 'root = \"${PENSTOCK_TEST_MISSING}\"'}}\noutput: {drop: {}}\n"
		_, err := prepare(t, config)
		assert.Equal(t, "required environment variables were not set: [PENSTOCK_TEST_MISSING]", rejected(t, err).Message)
		_, err = prepare(t, config, func(r *rpc.PrepareRequest) { r.Chilled = true })
		assert.NoError(t, err)
	})
	t.Run("address in use", func(t *testing.T) {
		held, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		defer held.Close()
		_, err = prepare(t, fmt.Sprintf("{input: {http_server: {address: %q}}, output: {drop: {}}}", held.Addr()))
		assert.Equal(t, rpc.RejectAddressInUse, rejected(t, err).Kind)
	})
}

func TestEnvironment(t *testing.T) {
	t.Setenv("PENSTOCK_TEST_VALUE", "")
	out := filepath.Join(t.TempDir(), "out")
	s, err := prepare(t, fmt.Sprintf(`
input: {generate: {count: 1, interval: "", mapping: 'root = "${PENSTOCK_TEST_VALUE} " + env("PENSTOCK_TEST_VALUE")'}}
output: {file: {path: %q, codec: lines}}
`, out), func(r *rpc.PrepareRequest) { r.Environment = map[string]string{"PENSTOCK_TEST_VALUE": "seen"} })
	require.NoError(t, err)
	s.Run()
	awaitDone(t, s)
	data, err := os.ReadFile(out)
	require.NoError(t, err)
	assert.Equal(t, "seen seen\n", string(data))
}

func TestEndpoints(t *testing.T) {
	const config = `{input: {http_server: {path: /item/, ws_path: ""}}, output: {drop: {}}}`
	s, err := prepare(t, config)
	require.NoError(t, err)
	assert.Equal(t, []string{"/foo/item/", "/foo/ready"}, s.Paths())
	s.Run()
	for path, status := range map[string]int{
		"/foo/item": 200, "/foo/item/": 200, "/foo/item/a/b": 200, "/foo/other": 404, "/item/": 404,
	} {
		rec := httptest.NewRecorder()
		s.Handler().ServeHTTP(rec, httptest.NewRequest(http.MethodPost, path, strings.NewReader("x")))
		assert.Equal(t, status, rec.Code, path)
	}

	s, err = prepare(t, config, func(r *rpc.PrepareRequest) { r.PrefixEndpoints = false })
	require.NoError(t, err)
	assert.Equal(t, []string{"/item/", "/ready"}, s.Paths())
}

func TestReadinessNamesWhatIsNotConnected(t *testing.T) {
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	addr := gone.Addr().String()
	require.NoError(t, gone.Close())
	s, err := prepare(t, fmt.Sprintf("{input: {label: far, websocket: {url: 'ws://%s/'}}, output: {drop: {}}}", addr))
	require.NoError(t, err)
	s.Run()
	require.Eventually(t, func() bool {
		r, err := s.Ready()
		return err == nil && !r.Ready && len(r.Connections) > 0 && r.Connections[0].Error != ""
	}, patience, 5*time.Millisecond)
	r, err := s.Ready()
	require.NoError(t, err)
	assert.Equal(t, "far", r.Connections[0].Label)
	assert.Equal(t, "input", r.Connections[0].Path)
	assert.Contains(t, r.Connections[0].Error, "refused")
}

func TestResources(t *testing.T) {
	cache := rpc.Resource{Type: "cache", ID: "c", Config: []byte("label: c\nmemory:\n  init_values:\n    k: |\n      two\n        lines\n")}
	out := filepath.Join(t.TempDir(), "out")
	s, err := prepare(t, fmt.Sprintf(`
input: {generate: {count: 1, interval: "", mapping: root = ""}}
pipeline: {processors: [{cache: {resource: c, operator: get, key: k}}]}
output: {file: {path: %q, codec: all-bytes}}
`, out), func(r *rpc.PrepareRequest) { r.Resources = []rpc.Resource{cache} })
	require.NoError(t, err)
	s.Run()
	awaitDone(t, s)
	data, err := os.ReadFile(out)
	require.NoError(t, err)
	assert.Equal(t, "two\n  lines\n", string(data), "indentation of literal blocks survives")
}

func TestResourcesAreCheckedWithoutAStream(t *testing.T) {
	for name, c := range map[string]struct {
		resource rpc.Resource
		want     string
	}{
		"cache":      {rpc.Resource{Type: "cache", ID: "a", Config: []byte("label: a\nmemory: {}")}, ""},
		"json":       {rpc.Resource{Type: "cache", ID: "a", Config: []byte("{\n\"label\": \"a\",\n\"memory\": {}\n}")}, ""},
		"input":      {rpc.Resource{Type: "input", ID: "a", Config: []byte("label: a\ngenerate: {mapping: root = 1}")}, ""},
		"output":     {rpc.Resource{Type: "output", ID: "a", Config: []byte("label: a\ndrop: {}")}, ""},
		"processor":  {rpc.Resource{Type: "processor", ID: "a", Config: []byte("label: a\nmapping: root = 1")}, ""},
		"rate limit": {rpc.Resource{Type: "rate_limit", ID: "a", Config: []byte("label: a\nlocal: {count: 1}")}, ""},
		"lint":       {rpc.Resource{Type: "cache", ID: "a", Config: []byte("label: a\nmemory: {nope: 1}")}, "(2,1) field nope not recognised"},
		"build":      {rpc.Resource{Type: "cache", ID: "a", Config: []byte("label: a\nmultilevel: [one]")}, "at least two"},
		"type":       {rpc.Resource{Type: "cache", ID: "a", Config: []byte("label: a\nnothing: {}")}, "unable to infer"},
	} {
		t.Run(name, func(t *testing.T) {
			c.resource.Check = true
			c.resource.Posted = c.resource.Config
			_, err := prepare(t, "", func(r *rpc.PrepareRequest) {
				r.ResourcesOnly, r.Resources = true, []rpc.Resource{c.resource}
			})
			if c.want == "" {
				assert.NoError(t, err)
				return
			}
			assert.Contains(t, rejected(t, err).Error(), c.want)
		})
	}
}

func TestStopDrains(t *testing.T) {
	s, err := prepare(t, `
input: {http_server: {path: /post}}
pipeline: {processors: [{mapping: 'root = content().uppercase()'}]}
output: {sync_response: {}}
`)
	require.NoError(t, err)
	s.Run()
	rec := httptest.NewRecorder()
	s.Handler().ServeHTTP(rec, httptest.NewRequest(http.MethodPost, "/foo/post", strings.NewReader("abc")))
	body, err := io.ReadAll(rec.Body)
	require.NoError(t, err)
	assert.Equal(t, "ABC", string(body))
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	require.NoError(t, s.Stop(ctx))
	awaitDone(t, s)
	assert.NoError(t, s.Stop(ctx), "stopping twice is fine")
	assert.False(t, errors.Is(s.Err(), context.Canceled))
}

// TestStopDoesNotWaitForAClientOfAnOutput covers the http_server output,
// which by itself would sit out the whole grace period.
func TestStopDoesNotWaitForAClientOfAnOutput(t *testing.T) {
	s, err := prepare(t, `{input: {http_server: {path: /post}}, buffer: {memory: {}}, output: {http_server: {path: /get}}}`)
	require.NoError(t, err)
	s.Run()
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	stopped := make(chan error, 1)
	go func() { stopped <- s.Stop(ctx) }()
	select {
	case err := <-stopped:
		require.NoError(t, err)
	case <-time.After(patience):
		t.Fatal("the stop waits for a client")
	}
}

// TestStopLosesNoMessageToTheNudge has a message wait for a client while the
// stream is being stopped: the client that comes late still gets it, and then
// the stop ends.
func TestStopLosesNoMessageToTheNudge(t *testing.T) {
	for name, config := range map[string]string{
		"buffer":    `{input: {http_server: {path: /post}}, buffer: {memory: {}}, output: {http_server: {path: /get, timeout: 30s}}}`,
		"processor": `{input: {http_server: {path: /post}}, buffer: {memory: {}}, pipeline: {processors: [{sleep: {duration: 700ms}}]}, output: {http_server: {path: /get, timeout: 30s}}}`,
	} {
		t.Run(name, func(t *testing.T) {
			s, err := prepare(t, config)
			require.NoError(t, err)
			s.Run()
			s.Handler().ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/foo/post", strings.NewReader("kept")))
			ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
			defer cancel()
			stopped := make(chan error, 1)
			go func() { stopped <- s.Stop(ctx) }()
			// Many nudges' time, in which none may be made.
			select {
			case err := <-stopped:
				t.Fatalf("stopped (%v) with a message undelivered", err)
			case <-time.After(10 * nudgeEvery):
			}
			rec := httptest.NewRecorder()
			s.Handler().ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/foo/get", nil))
			assert.Equal(t, "kept", rec.Body.String())
			select {
			case err := <-stopped:
				require.NoError(t, err)
			case <-time.After(patience):
				t.Fatal("the stop does not end once the message is delivered")
			}
		})
	}
}
