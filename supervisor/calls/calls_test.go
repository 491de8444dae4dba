package calls

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
)

// patience bounds every wait; a test that needs it has failed.
const patience = time.Minute

// fake is Streams that do what a test says.
type fake struct {
	mu sync.Mutex
	// down has Await wait until it is closed; nil when the streams run.
	down chan struct{}
	gone map[string]bool
	call func(stream string, r *http.Request) (*http.Response, error)
	// order is the bodies that came, attempts what their headers said.
	order    []string
	attempts []string
}

func (f *fake) Await(ctx context.Context, stream string) error {
	f.mu.Lock()
	down, gone := f.down, f.gone[stream]
	f.mu.Unlock()
	if gone {
		return fmt.Errorf("%s: %w", stream, ErrNoStream)
	}
	if down != nil {
		select {
		case <-down:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func (f *fake) Call(_ context.Context, stream string, r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	f.order = append(f.order, string(body))
	f.attempts = append(f.attempts, r.Header.Get(AttemptHeader))
	call := f.call
	f.mu.Unlock()
	r.Body = io.NopCloser(bytes.NewReader(body))
	if call != nil {
		return call(stream, r)
	}
	return says(200, string(body)), nil
}

func (f *fake) seen() (order, attempts []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.order...), append([]string(nil), f.attempts...)
}

func says(code int, body string, header ...string) *http.Response {
	h := http.Header{}
	for i := 0; i < len(header); i += 2 {
		h.Set(header[i], header[i+1])
	}
	return &http.Response{StatusCode: code, Header: h, Body: io.NopCloser(strings.NewReader(body))}
}

type nobody struct{}

func (nobody) CallAccepted()        {}
func (nobody) CallRefused(string)   {}
func (nobody) CallEnded(string)     {}
func (nobody) CallbackTried(string) {}

func testConfig() Config {
	cfg := DefaultConfig()
	cfg.Backoff = Backoff{time.Millisecond, 2 * time.Millisecond}
	return cfg
}

func open(t testing.TB, path string, cfg Config, streams Streams) *Calls {
	t.Helper()
	c, err := Open(path, cfg, streams, nobody{}, zap.NewNop())
	require.NoError(t, err)
	t.Cleanup(func() { shut(t, c) })
	return c
}

func shut(t testing.TB, c *Calls) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	require.NoError(t, c.Close(ctx))
}

func pathOf(t testing.TB) string { return filepath.Join(t.TempDir(), "calls.db") }

func post(body string) Request {
	return Request{Method: "POST", Path: "/s/post", Host: "x", Header: http.Header{"X-A": {"b"}}, Body: []byte(body)}
}

func submit(t testing.TB, c *Calls, stream, body string) Call {
	t.Helper()
	call, err := c.Submit(stream, post(body))
	require.NoError(t, err)
	return call
}

func wait(t testing.TB, c *Calls, id string) Call {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	call, err := c.Get(ctx, id)
	require.NoError(t, err)
	require.True(t, call.Status.ended(), "%+v", call)
	return call
}

func TestCallsAreCarriedOutInTheirOrder(t *testing.T) {
	cfg := testConfig()
	cfg.Concurrency = 1
	f := &fake{down: make(chan struct{})}
	c := open(t, pathOf(t), cfg, f)
	c.Start()
	var want []string
	var last Call
	for i := range 50 {
		want = append(want, fmt.Sprint(i))
		last = submit(t, c, "s", fmt.Sprint(i))
	}
	close(f.down)
	wait(t, c, last.ID)
	order, attempts := f.seen()
	assert.Equal(t, want, order)
	assert.Equal(t, slicesRepeat("1", 50), attempts)
}

func slicesRepeat(s string, n int) []string {
	return strings.Split(strings.Repeat(s+",", n)[:n*2-1], ",")
}

func TestCallsAreThereAfterTheEnd(t *testing.T) {
	path := pathOf(t)
	f := &fake{down: make(chan struct{})}
	c := open(t, path, testConfig(), f)
	c.Start()
	waiting := submit(t, c, "s", "hello")
	shut(t, c)
	_, err := c.Submit("s", post("x"))
	require.ErrorIs(t, err, ErrClosed)

	f = &fake{}
	c = open(t, path, testConfig(), f)
	c.Start()
	assert.Equal(t, 1, wait(t, c, waiting.ID).Attempts, "nobody has begun it before")
	call, answer, err := c.Answer(waiting.ID)
	require.NoError(t, err)
	assert.Equal(t, "hello", string(answer.Body))
	assert.Equal(t, 200, call.Result.StatusCode)
	shut(t, c)

	c = open(t, path, testConfig(), f)
	_, answer, err = c.Answer(waiting.ID)
	require.NoError(t, err)
	assert.Equal(t, "hello", string(answer.Body))
}

// A file that was not closed may hold calls that were under way.
func TestAttemptsAfterACrash(t *testing.T) {
	path := pathOf(t)
	f := &fake{down: make(chan struct{})}
	c := open(t, path, testConfig(), f)
	call := submit(t, c, "s", "hello")
	copied := filepath.Join(t.TempDir(), "calls.db")
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(copied, text, 0o600))

	f = &fake{}
	again := open(t, copied, testConfig(), f)
	again.Start()
	assert.Equal(t, 2, wait(t, again, call.ID).Attempts)
	_, attempts := f.seen()
	assert.Equal(t, []string{"2"}, attempts)
}

// What JSON would not hold is kept as it came.
func TestBytesAreKept(t *testing.T) {
	path := pathOf(t)
	got := make(chan *http.Request, 1)
	f := &fake{down: make(chan struct{}), call: func(_ string, r *http.Request) (*http.Response, error) {
		got <- r
		return says(200, "\xff\x00", "X-Latin", "\xe4"), nil
	}}
	c := open(t, path, testConfig(), f)
	call, err := c.Submit("s", Request{Method: "PUT", Path: "/s/\xe4?\xf6=%00", Host: "\xfc", Body: []byte("\x00\xfe"),
		Header: http.Header{"X-Latin": {"\xdf", ""}, "User-Agent": {"me"}}})
	require.NoError(t, err)
	shut(t, c)
	c = open(t, path, testConfig(), f)
	c.Start()
	close(f.down)
	wait(t, c, call.ID)
	r := <-got
	body, err := io.ReadAll(r.Body)
	require.NoError(t, err)
	assert.Equal(t, "\x00\xfe", string(body))
	assert.Equal(t, "\xfc", r.Host)
	assert.Equal(t, "/s/\xe4", r.URL.Path)
	assert.Equal(t, "\xf6=%00", r.URL.RawQuery)
	assert.Equal(t, http.Header{"X-Latin": {"\xdf", ""}, "User-Agent": {"me"}, IDHeader: {call.ID}, AttemptHeader: {"1"}}, r.Header)
	_, answer, err := c.Answer(call.ID)
	require.NoError(t, err)
	assert.Equal(t, Answer{Header: http.Header{"X-Latin": {"\xe4"}}, Body: []byte("\xff\x00")}, answer)
}

func TestApartTakesWhatMessageMakes(t *testing.T) {
	for _, value := range []string{"", "\x01", "\x01\x05a", "\x01\x01a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "\xff\xff\xff\xff\x0f"} {
		_, _, err := apart(bucketResults, nil, []byte(value))
		assert.Error(t, err, "%q", value)
	}
}

func TestFailuresAreTriedAgain(t *testing.T) {
	tries := 0
	f := &fake{call: func(string, *http.Request) (*http.Response, error) {
		tries++
		switch tries {
		case 1:
			return nil, errors.New("broken")
		case 2:
			return says(503, ""), nil
		case 3:
			return nil, fmt.Errorf("%w: not now", ErrDown)
		}
		return says(201, "fine", "X-Penstock-Call-Id", "forged", "X-B", "c"), nil
	}}
	cfg := testConfig()
	cfg.Concurrency, cfg.Attempts = 1, 3
	c := open(t, pathOf(t), cfg, f)
	c.Start()
	call := wait(t, c, submit(t, c, "s", "x").ID)
	assert.Equal(t, Done, call.Status)
	assert.Equal(t, 3, call.Attempts, "that which was never sent does not count")
	_, answer, err := c.Answer(call.ID)
	require.NoError(t, err)
	assert.Equal(t, http.Header{"X-B": {"c"}}, answer.Header)

	f.mu.Lock()
	f.call = func(string, *http.Request) (*http.Response, error) { return says(429, "no"), nil }
	f.mu.Unlock()
	call = wait(t, c, submit(t, c, "s", "x").ID)
	assert.Equal(t, Done, call.Status, "the last answer is the result")
	assert.Equal(t, 429, call.Result.StatusCode)
	assert.Equal(t, 3, call.Attempts)
}

func TestForgettingACallThatIsCarriedOut(t *testing.T) {
	begun := make(chan struct{})
	f := &fake{call: func(_ string, r *http.Request) (*http.Response, error) {
		close(begun)
		<-r.Context().Done()
		return nil, r.Context().Err()
	}}
	path := pathOf(t)
	c := open(t, path, testConfig(), f)
	c.Start()
	call := submit(t, c, "s", "x")
	<-begun
	require.NoError(t, c.Forget(call.ID))
	_, err := c.Get(t.Context(), call.ID)
	require.ErrorIs(t, err, ErrUnknown)
	require.ErrorIs(t, c.Forget(call.ID), ErrUnknown)
	shut(t, c)
	c = open(t, path, testConfig(), f)
	found, _, err := c.List(Query{})
	require.NoError(t, err)
	assert.Empty(t, found)
	_, bytes := c.Figures()
	assert.Zero(t, bytes)
}

func TestCallsOfADeletedStream(t *testing.T) {
	f := &fake{down: make(chan struct{}), gone: map[string]bool{}}
	c := open(t, pathOf(t), testConfig(), f)
	c.Start()
	var ids []string
	for range 20 {
		ids = append(ids, submit(t, c, "s", "x").ID)
	}
	other := submit(t, c, "other", "x")
	c.Gone("s")
	for _, id := range ids {
		call := wait(t, c, id)
		assert.Equal(t, Failed, call.Status)
		assert.Contains(t, call.Reason, "deleted")
	}
	close(f.down)
	assert.Equal(t, Done, wait(t, c, other.ID).Status)
	order, _ := f.seen()
	assert.Equal(t, []string{"x"}, order)
}

// What is counted is what is there, whatever becomes of calls.
func TestRoomIsCountedTruly(t *testing.T) {
	cfg := testConfig()
	cfg.MaxBody, cfg.MaxResult = 10<<10, 10<<10
	cfg.StreamStorage, cfg.Storage = 1100<<10, 1100<<10
	path := pathOf(t)
	f := &fake{}
	c := open(t, path, cfg, f)
	c.Start()
	body := strings.Repeat("x", 9<<10)
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 100 {
				call, err := c.Submit("s", post(body))
				var busy *BusyError
				switch {
				case errors.As(err, &busy):
					found, _, err := c.List(Query{Status: Done, Limit: 1})
					assert.NoError(t, err)
					for _, old := range found {
						if err := c.Forget(old.ID); err != nil {
							assert.ErrorIs(t, err, ErrUnknown)
						}
					}
				case assert.NoError(t, err):
					_, err := c.Get(t.Context(), call.ID)
					if err != nil {
						assert.ErrorIs(t, err, ErrUnknown)
					}
				}
				_, bytes := c.Figures()
				assert.LessOrEqual(t, bytes, int64(cfg.Storage))
			}
		})
	}
	group.Wait()
	found, _, err := c.List(Query{})
	require.NoError(t, err)
	shut(t, c)
	c = open(t, path, cfg, f)
	_, loaded := c.Figures()
	again, _, err := c.List(Query{})
	require.NoError(t, err)
	assert.Len(t, again, len(found))
	for _, call := range again {
		require.NoError(t, c.Forget(call.ID))
	}
	_, bytes := c.Figures()
	assert.Zero(t, bytes, "of %d", loaded)
}
