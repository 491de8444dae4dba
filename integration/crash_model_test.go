package integration

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
)

// This file holds what a crashed supervisor's state is compared with: a model
// of the streams and resources that moves by each call as the server is to.

// keptRevisions is how many revisions the server keeps of a stream.
const keptRevisions = 10

// crashConfig is a stream's config as far as it varies: the input's label,
// which PUT sets, and the output's, which PATCH sets. 0 is none.
type crashConfig struct{ Tag, Patch int }

// value is the config as an answer's JSON decodes. The stream sends a message
// as soon as it runs, of which its log tells at any level.
func (c crashConfig) value() map[string]any {
	input := map[string]any{"generate": map[string]any{"interval": "1h", "mapping": `root = "x"`}}
	output := map[string]any{"drop": map[string]any{}}
	if c.Tag > 0 {
		input["label"] = fmt.Sprintf("t%d", c.Tag)
	}
	if c.Patch > 0 {
		output["label"] = fmt.Sprintf("p%d", c.Patch)
	}
	log := map[string]any{"log": map[string]any{"level": "ERROR", "message": "it runs"}}
	return map[string]any{
		"input": input, "output": output,
		"pipeline": map[string]any{"threads": float64(1), "processors": []any{log}},
	}
}

// crashStream is one stream. One that was shown never changes: each call makes
// another. nil is no stream.
type crashStream struct {
	// History holds the config of every revision since the creation, from 1.
	History []crashConfig
	Paused  bool
	Level   string
}

func (s *crashStream) config() crashConfig { return s.History[len(s.History)-1] }

func (s *crashStream) String() string {
	if s == nil {
		return "none"
	}
	return fmt.Sprintf("revision %d, paused %t, level %s, config %+v", len(s.History), s.Paused, s.Level, s.config())
}

// with is the stream after a change.
func (s *crashStream) with(change func(*crashStream)) *crashStream {
	next := *s
	next.History = slices.Clone(s.History)
	change(&next)
	return &next
}

func (s *crashStream) revised(c crashConfig) *crashStream {
	return s.with(func(s *crashStream) { s.History = append(s.History, c) })
}

// created is a stream that was not there before.
func created(c crashConfig) *crashStream {
	return &crashStream{History: []crashConfig{c}, Level: "info"}
}

// crashCall is one call with the answer it is to get and what it is to make of
// the streams and resources it names.
type crashCall struct {
	request
	Status    int
	Streams   map[string]*crashStream
	Resources map[string]int
}

func (c crashCall) String() string {
	return fmt.Sprintf("%s %s %s", c.Method, c.Path, c.Body)
}

// crashWorld is all that the server is to hold.
type crashWorld struct {
	Streams map[string]*crashStream
	// Resources are caches; the value is their default_ttl in seconds, 0 is none.
	Resources map[string]int
}

// after is the world once a call holds.
func (w crashWorld) after(c crashCall) crashWorld {
	next := crashWorld{maps.Clone(w.Streams), maps.Clone(w.Resources)}
	maps.Copy(next.Streams, c.Streams)
	maps.Copy(next.Resources, c.Resources)
	return next
}

// chooser makes calls up. Each has numbers of its own, so that no config comes
// twice.
type chooser struct {
	*rand.Rand
	next int
}

func (c *chooser) number() int {
	c.next++
	return c.next
}

// onStream is a call that concerns the stream id, which is as s says.
func (c *chooser) onStream(id string, s *crashStream) crashCall {
	call := func(status int, method, sub, body string, to *crashStream) crashCall {
		return crashCall{
			request: request{Method: method, Path: "/streams/" + id + sub, Body: body},
			Status:  status, Streams: map[string]*crashStream{id: to},
		}
	}
	config := crashConfig{Tag: c.number()}
	if s == nil {
		if c.IntN(8) == 0 {
			return call(404, http.MethodPut, "", jsonText(config.value()), nil)
		}
		return call(200, http.MethodPost, "", jsonText(config.value()), created(config))
	}
	switch n := c.IntN(100); {
	case n < 20:
		return call(200, http.MethodPut, "", jsonText(config.value()), s.revised(config))
	case n < 35:
		config = crashConfig{Tag: s.config().Tag, Patch: config.Tag}
		return call(200, http.MethodPatch, "", fmt.Sprintf(`{"output": {"label": "p%d"}}`, config.Patch), s.revised(config))
	case n < 55:
		return call(200, http.MethodDelete, "", "", nil)
	case n < 70 && !s.Paused:
		return call(200, http.MethodPost, "/pause", "", s.with(func(s *crashStream) { s.Paused = true }))
	case n < 70:
		return call(200, http.MethodPost, "/resume", "", s.with(func(s *crashStream) { s.Paused = false }))
	case n < 78:
		to := 1 + c.IntN(len(s.History))
		sub := fmt.Sprintf("/rollback?revision=%d", to)
		switch {
		case to == len(s.History):
			// Whether that is a change is not for this test to say.
			return call(200, http.MethodGet, "/revisions", "", s)
		case to <= len(s.History)-keptRevisions:
			return call(404, http.MethodPost, sub, "", s)
		}
		return call(200, http.MethodPost, sub, "", s.revised(s.History[to-1]))
	case n < 86:
		level := []string{"debug", "info", "warn", "error"}[c.IntN(4)]
		return call(200, http.MethodPut, "/log-level", level, s.with(func(s *crashStream) { s.Level = level }))
	case n < 91 && s.Paused:
		return call(409, http.MethodPost, "/restart", "", s)
	case n < 91:
		return call(200, http.MethodPost, "/restart", "", s)
	case n < 95:
		return call(400, http.MethodPost, "", jsonText(config.value()), s)
	default:
		return call(400, http.MethodPut, "", misspeltYAML, s)
	}
}

// onAll is a POST of a whole set.
func (c *chooser) onAll(w crashWorld) crashCall {
	set := map[string]any{}
	to := map[string]*crashStream{}
	for _, id := range slices.Sorted(maps.Keys(w.Streams)) {
		old, config := w.Streams[id], crashConfig{Tag: c.number()}
		switch n := c.IntN(10); {
		case n < 4:
			to[id] = nil
			continue
		case old == nil:
			to[id] = created(config)
		case n < 7:
			to[id], config = old, old.config()
		default:
			to[id] = old.revised(config)
		}
		set[id] = config.value()
	}
	return crashCall{
		request: request{Method: http.MethodPost, Path: "/streams", Body: jsonText(set)},
		Status:  200, Streams: to,
	}
}

// onResource is a call that concerns a resource.
func (c *chooser) onResource(id string, ttl int) crashCall {
	path := "/resources/cache/" + id
	if ttl > 0 && c.IntN(3) == 0 {
		return crashCall{request: request{Method: http.MethodDelete, Path: path}, Status: 200, Resources: map[string]int{id: 0}}
	}
	ttl = c.number()
	return crashCall{
		request: request{Method: http.MethodPost, Path: path, Body: strings.TrimSpace(jsonText(cacheOf(ttl)))},
		Status:  200, Resources: map[string]int{id: ttl},
	}
}

// cacheOf is a resource's config as an answer's JSON decodes.
func cacheOf(ttl int) map[string]any {
	return map[string]any{"memory": map[string]any{"default_ttl": fmt.Sprintf("%ds", ttl)}}
}
