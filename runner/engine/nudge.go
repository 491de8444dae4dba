package engine

import (
	"context"
	"errors"
	"net/http"
	"reflect"
	"runtime"
	"strings"
	"time"
)

const (
	// nudgeEvery is how long a stop may take before its output is nudged, and
	// the pause between two nudges.
	nudgeEvery = 100 * time.Millisecond
	// nudgeFor is how long one nudge waits.
	nudgeFor = 20 * time.Millisecond
)

// nudge helps a stop past the engine's http_server output, which learns that
// its stream has ended only when a client asks it for a message: without
// clients a stop would take all its time. A nudge asks. It refuses what it is
// given, and is only made while nothing is on its way to the output, so that
// it meets the end of the stream and no message. It returns when the context
// ends.
func (s *Stream) nudge(ctx context.Context) {
	output := s.endpoints.soleOutput()
	if output == nil || !s.metrics.rootOutputOnly() {
		return
	}
	tick := time.NewTicker(nudgeEvery)
	defer tick.Stop()
	wasIdle := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		idle := s.metrics.idle()
		if idle && wasIdle {
			asking, cancel := context.WithTimeout(ctx, nudgeFor)
			output(refuser{}, (&http.Request{Method: http.MethodGet}).WithContext(asking))
			cancel()
		}
		wasIdle = idle
	}
}

// soleOutput is the handler by which the stream's only http_server output
// streams its messages; nil when there is none or more than one.
func (e *endpoints) soleOutput() http.HandlerFunc {
	e.mu.RLock()
	defer e.mu.RUnlock()
	if len(e.outputs) != 1 {
		return nil
	}
	return e.outputs[0]
}

// rootOutputOnly reports whether the stream has one output and no other around
// it, which could take a refusal for a failure to deliver.
func (c *collector) rootOutputOnly() bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	found := false
	for _, e := range c.entries {
		if e.name != "output_sent" {
			continue
		}
		if e.labels["path"] != "root.output" {
			return false
		}
		found = true
	}
	return found
}

// idle reports whether every processor has finished what it began, and every
// buffer has passed on all it took and was told that it arrived. The engine
// times a batch when it is done with it. Without a buffer as many messages
// must have been delivered as were received: a stream that drops or splits
// messages does not count as idle then, and its stop takes its time. Neither
// does one with so many metrics that some were refused.
func (c *collector) idle() bool {
	type component struct{ path, label string }
	c.mu.RLock()
	defer c.mu.RUnlock()
	if len(c.refused) > 0 {
		return false
	}
	values := map[component]map[string]int64{}
	for _, e := range c.entries {
		at := component{e.labels["path"], e.labels["label"]}
		if values[at] == nil {
			values[at] = map[string]int64{}
		}
		values[at][e.name] = e.number.Load()
	}
	var received, sent int64
	buffered := false
	for _, v := range values {
		received += v["input_received"]
		sent += v["output_sent"]
		if _, ok := v["buffer_received"]; ok {
			buffered = true
		}
		if v["processor_batch_received"] != v["processor_latency_ns"] ||
			v["buffer_received"] != v["buffer_sent"] ||
			v["buffer_batch_sent"] != v["buffer_latency_ns"] {
			return false
		}
	}
	return buffered || received == sent
}

// isOutputStream tells the handler by which an http_server output streams its
// messages: the one that refuses a message when it cannot be written.
func isOutputStream(handler func(http.ResponseWriter, *http.Request)) bool {
	return strings.Contains(nameOf(handler), "httpServerOutput).streamHandler")
}

// nameOf is the name of a function, which is all that tells handlers apart.
func nameOf(handler func(http.ResponseWriter, *http.Request)) string {
	if fn := runtime.FuncForPC(reflect.ValueOf(handler).Pointer()); fn != nil {
		return fn.Name()
	}
	return ""
}

var errRefused = errors.New("the stream is being stopped")

// refuser is a client that takes nothing.
type refuser struct{}

func (refuser) Header() http.Header { return http.Header{} }

func (refuser) WriteHeader(int) {}

func (refuser) Write([]byte) (int, error) { return 0, errRefused }

// Flush implements http.Flusher, without which the engine streams nothing.
func (refuser) Flush() {}
