package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestInterval(t *testing.T) {
	low, high := interval([]float64{7})
	assert.InDelta(t, 7, low, 0)
	assert.InDelta(t, 7, high, 0)
	values := []float64{0.9, 1, 1.1, 1, 0.95, 1.05, 1}
	low, high = interval(values)
	assert.LessOrEqual(t, 0.9, low)
	assert.LessOrEqual(t, low, median(values))
	assert.GreaterOrEqual(t, high, median(values))
	assert.LessOrEqual(t, high, 1.1)
	again, _ := interval(values)
	assert.InDelta(t, low, again, 0, "the same values have the same interval")
}

func TestParseResident(t *testing.T) {
	got, err := parseResident("Name:\tx\nVmHWM:\t   30 kB\nVmRSS:\t   20 kB\nThreads:\t3\n")
	require.NoError(t, err)
	assert.Equal(t, resident{now: 20 << 10, peak: 30 << 10}, got)
	_, err = parseResident("Name:\tx\nVmRSS:\t   20 kB\n")
	assert.ErrorContains(t, err, "VmHWM")
}

func TestThreadTimes(t *testing.T) {
	before, err := threadTimes([]int{os.Getpid()})
	require.NoError(t, err)
	for until := time.Now().Add(20 * time.Millisecond); time.Now().Before(until); {
		_ = strings.Repeat("busy", 100)
	}
	after, err := threadTimes([]int{os.Getpid()})
	require.NoError(t, err)
	assert.Greater(t, after, before)
	_, err = threadTimes([]int{-1})
	assert.Error(t, err)
}

// The sink takes its own clock and the streams' counts: what is not yet told,
// and what was told before, does not count.
func TestSinkRates(t *testing.T) {
	begun := time.Now()
	at := func(ms int) time.Time { return begun.Add(time.Duration(ms) * time.Millisecond) }
	a, b, c := &net.TCPConn{}, &net.UnixConn{}, &net.UDPConn{}
	s := &sink{marks: map[net.Conn][]mark{
		a: {{at(-10), 0}, {at(100), 1000}, {at(300), 3000}, {at(600), 6000}},
		b: {{at(200), 500}, {at(700), 1000}},
		c: {{at(-10), 500}, {at(10), 1000}},
	}}
	rates, err := s.rates(begun)
	require.NoError(t, err)
	assert.ElementsMatch(t, []float64{10000, 1000}, rates)
}

func TestSink(t *testing.T) {
	s, err := newSink()
	require.NoError(t, err)
	defer s.close()
	assert.Contains(t, s.config(), s.listener.Addr().String())
	conn, err := net.Dial("tcp", s.listener.Addr().String())
	require.NoError(t, err)
	defer conn.Close()
	_, err = io.WriteString(conn, "500\n1000\n")
	require.NoError(t, err)
	require.NoError(t, s.awaitAll(t.Context(), 1, time.Time{}))
	_, err = io.WriteString(conn, "many\n")
	require.NoError(t, err)
	assert.Eventually(t, func() bool { _, err := s.rates(time.Time{}); return err != nil }, 5*time.Second, time.Millisecond)
}

// Failures are counted where they may be, and the connection is not used again.
func TestHearCountsFailures(t *testing.T) {
	var calls atomic.Int64
	s := called(t, func(w http.ResponseWriter, _ *http.Request) {
		switch calls.Add(1) % 4 {
		case 0:
			w.WriteHeader(http.StatusServiceUnavailable)
		case 1:
			_, _ = io.WriteString(w, changedAnswer)
		default:
			_, _ = io.WriteString(w, answer)
		}
	})
	h, err := s.hear(t.Context(), regular{path: "/", rate: 400, right: []string{answer, changedAnswer}, tolerant: true}, 100*time.Millisecond)
	require.NoError(t, err)
	assert.Equal(t, 10, h.failed)
	assert.Len(t, h.took, 30)
	assert.ErrorContains(t, h.failure, "503")
}

// A cancelled measurement is no measurement, however tolerant.
func TestHearEndsWithItsContext(t *testing.T) {
	s := called(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, answer) })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := s.hear(ctx, regular{path: "/", rate: 100, right: []string{answer}, tolerant: true}, time.Minute)
	assert.ErrorIs(t, err, context.DeadlineExceeded)
}

func TestLargeBodies(t *testing.T) {
	const length = 100_000
	for name, c := range map[string]struct {
		reply func(body string) string
		fault string
	}{
		"right":    {strings.ToUpper, ""},
		"the same": {strings.ToLower, "is not what it should be"},
		"too long": {func(body string) string { return strings.ToUpper(body) + "more" }, "4 bytes too many"},
		"cut":      {func(body string) string { return strings.ToUpper(body[1:]) }, io.ErrUnexpectedEOF.Error()},
	} {
		t.Run(name, func(t *testing.T) {
			s := called(t, func(w http.ResponseWriter, r *http.Request) {
				body, err := io.ReadAll(r.Body)
				if err != nil {
					return // a wrong answer has ended the other connection, too
				}
				_, _ = io.WriteString(w, c.reply(string(body)))
			})
			l, err := dialLoad(t.Context(), s, exchange{
				path: "/", body: strings.Repeat("a", length), answer: strings.Repeat("A", length), connections: 2,
			})
			require.NoError(t, err)
			defer l.close()
			answered, err := l.run(t.Context(), 50*time.Millisecond)
			if c.fault != "" {
				require.ErrorContains(t, err, c.fault)
				return
			}
			require.NoError(t, err)
			assert.Positive(t, answered)
		})
	}
}

func TestRefusal(t *testing.T) {
	said := &statusError{request: "POST /streams/x", code: http.StatusBadRequest, text: "field http not recognised"}
	assert.Equal(t, "the server refuses runtime.http: field http not recognised", refusal(said, "runtime.http"))
	said.code = http.StatusInternalServerError
	assert.Empty(t, refusal(said, "runtime.http"))
	assert.Empty(t, refusal(io.EOF, "runtime.http"))
}

func TestReach(t *testing.T) {
	assert.InDelta(t, 0.5, goal{Bound: atLeast, Goal: 0.8}.reach(0.4), 1e-9)
	assert.InDelta(t, 2, goal{Bound: atMost, Goal: 8}.reach(4), 1e-9)
	assert.InDelta(t, 0, goal{Bound: atMost}.reach(3), 0, "no failure is allowed")
	assert.InDelta(t, 1, goal{Bound: atMost, Met: true}.reach(0), 0)
	assert.InDelta(t, 2, goal{Bound: atMost, Goal: 16, Met: true}.reach(-1), 0)
}

// A stream's own listener may have its endpoint at either path, a moment later.
func TestFindPath(t *testing.T) {
	var calls atomic.Int64
	s := called(t, func(w http.ResponseWriter, r *http.Request) {
		if calls.Add(1) < 5 || r.URL.Path != "/x/post" {
			http.NotFound(w, r)
			return
		}
		_, _ = io.WriteString(w, answer)
	})
	path, err := s.findPath(t.Context(), "/post", "/x/post")
	require.NoError(t, err)
	assert.Equal(t, "/x/post", path)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err = s.findPath(ctx, "/post")
	assert.ErrorIs(t, err, context.DeadlineExceeded)
}

func TestAwaitIdle(t *testing.T) {
	var calls atomic.Int64
	s := called(t, func(w http.ResponseWriter, r *http.Request) {
		assert.Equal(t, "/streams/x/status", r.URL.Path)
		state := "running"
		if calls.Add(1) > 2 {
			state = "idle"
		}
		_, _ = io.WriteString(w, `{"state": "`+state+`"}`)
	})
	require.NoError(t, s.awaitIdle(t.Context(), "x"))
	assert.EqualValues(t, 3, calls.Load())
}

// The first byte counts, and the whole answer must be right.
func TestFirstByte(t *testing.T) {
	const late = 200 * time.Millisecond
	s := called(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusOK)
		_ = http.NewResponseController(w).Flush()
		time.Sleep(late)
		_, _ = io.WriteString(w, strings.TrimPrefix(r.URL.Path, "/"))
	})
	took, err := s.firstByte(t.Context(), "/"+strings.ReplaceAll(answer, " ", "%20"))
	require.NoError(t, err)
	assert.Positive(t, took)
	assert.Less(t, took, late)
	_, err = s.firstByte(t.Context(), "/something")
	assert.ErrorContains(t, err, "something")
}
