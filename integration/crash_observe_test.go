package integration

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
)

// storedRevision is one entry of GET /streams/{id}/revisions.
type storedRevision struct {
	Revision int
	Origin   string
	Config   map[string]any
}

// getInto decodes the 200 answer of a GET.
func getInto(ctx context.Context, c *client, path string, v any) error {
	a, err := c.ask(ctx, request{Method: http.MethodGet, Path: path})
	if err != nil {
		return err
	}
	if a.Status != http.StatusOK {
		return fmt.Errorf("GET %s answered %s", path, a)
	}
	return json.Unmarshal(a.Body, v)
}

// jsonText is v as JSON, which every value of the tests has.
func jsonText(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(text)
}

// seenStream is all that the server tells of a stream; nil is no stream.
type seenStream struct {
	Config    map[string]any
	Status    wholeStatus
	Revisions []storedRevision
}

// seenWorld is all that the server tells.
type seenWorld struct {
	Streams   map[string]*seenStream
	Resources map[string]any
}

// observe asks for everything. The ids are those that the list must agree with.
func observe(ctx context.Context, c *client, w crashWorld) (seenWorld, error) {
	seen := seenWorld{Streams: map[string]*seenStream{}, Resources: map[string]any{}}
	list, err := listStreams(ctx, c)
	if err != nil {
		return seen, err
	}
	for id := range list {
		var s seenStream
		err := errors.Join(
			getInto(ctx, c, "/streams/"+id, &s),
			getInto(ctx, c, "/streams/"+id+"/status", &s.Status),
			getInto(ctx, c, "/streams/"+id+"/revisions", &s.Revisions),
		)
		if err != nil {
			return seen, err
		}
		seen.Streams[id] = &s
	}
	for id := range w.Streams {
		if _, listed := list[id]; listed {
			continue
		}
		if a, err := c.ask(ctx, request{Method: http.MethodGet, Path: "/streams/" + id}); err != nil || a.Status != 404 {
			return seen, fmt.Errorf("the stream %s, which is not listed: %s %w", id, a, err)
		}
	}
	var resources map[string]map[string]struct{ Config any }
	if err := getInto(ctx, c, "/resources", &resources); err != nil {
		return seen, err
	}
	for id, r := range resources["cache"] {
		seen.Resources[id] = r.Config
	}
	return seen, nil
}

// matchesStream says what differs of one stream.
func (w crashWorld) matchesStream(id string, s *seenStream) error {
	want := w.Streams[id]
	switch {
	case want == nil && s == nil:
		return nil
	case want == nil:
		return fmt.Errorf("stream %s is there (%s) and should not", id, s.Status)
	case s == nil:
		return fmt.Errorf("stream %s is missing: %s", id, want)
	}
	desired := "running"
	if want.Paused {
		desired = "paused"
	}
	got := s.Status
	if got.Desired != desired || got.LogLevel != want.Level || got.Revision != uint64(len(want.History)) {
		return fmt.Errorf("stream %s is %s, not %s", id, got, want)
	}
	if !reflect.DeepEqual(s.Config, want.config().value()) {
		return fmt.Errorf("stream %s has the config %v, not that of %s", id, s.Config, want)
	}
	if n := min(len(want.History), keptRevisions); len(s.Revisions) != n {
		return fmt.Errorf("stream %s has %d revisions, not %d", id, len(s.Revisions), n)
	}
	for i, r := range s.Revisions {
		number := len(want.History) - i
		if r.Revision != number || !reflect.DeepEqual(r.Config, want.History[number-1].value()) {
			return fmt.Errorf("stream %s has %+v in place of revision %d with %v", id, r, number, want.History[number-1])
		}
	}
	return nil
}

// matchesResource says what differs of one resource.
func (w crashWorld) matchesResource(id string, got any) error {
	var want any
	if ttl := w.Resources[id]; ttl > 0 {
		want = cacheOf(ttl)
	}
	if !reflect.DeepEqual(got, want) {
		return fmt.Errorf("resource %s is %v, not %v", id, got, want)
	}
	return nil
}

// strangers are streams and resources that nobody made.
func (w crashWorld) strangers(seen seenWorld) error {
	var errs []error
	for id := range seen.Streams {
		if _, known := w.Streams[id]; !known {
			errs = append(errs, fmt.Errorf("nobody made the stream %s", id))
		}
	}
	for id := range seen.Resources {
		if _, known := w.Resources[id]; !known {
			errs = append(errs, fmt.Errorf("nobody made the resource %s", id))
		}
	}
	return errors.Join(errs...)
}

// settle takes what the server holds as the world from now on. Of every call
// that was cut off, either all must hold or nothing; held tells how many did.
func (w crashWorld) settle(seen seenWorld, cut []crashCall) (now crashWorld, held int, err error) {
	if err := w.strangers(seen); err != nil {
		return w, 0, err
	}
	now = w
	for _, call := range cut {
		before, after := w.differs(seen, call), w.after(call).differs(seen, call)
		switch {
		case after == nil:
			now = now.after(call)
			held++
		case before != nil:
			return w, held, fmt.Errorf("the call that was cut off, %s, holds in part: without it: %w; with it: %w", call, before, after)
		}
	}
	// What no call was about is as it was.
	var errs []error
	for id := range now.Streams {
		errs = append(errs, now.matchesStream(id, seen.Streams[id]))
	}
	for id := range now.Resources {
		errs = append(errs, now.matchesResource(id, seen.Resources[id]))
	}
	return now, held, errors.Join(errs...)
}

// differs says what differs of what a call concerns.
func (w crashWorld) differs(seen seenWorld, c crashCall) error {
	var errs []error
	for id := range c.Streams {
		errs = append(errs, w.matchesStream(id, seen.Streams[id]))
	}
	for id := range c.Resources {
		errs = append(errs, w.matchesResource(id, seen.Resources[id]))
	}
	return errors.Join(errs...)
}

// runs tells whether every stream that is to run does so in one process, and
// whether no other process runs one: which is told by the log that it has
// open. A runner that was started a moment before its supervisor died, and
// never spoken to, ends by itself in its own time.
func (w crashWorld) runs(ctx context.Context, r *restartable) error {
	var want []int
	for id, s := range w.Streams {
		if s == nil {
			continue
		}
		status, err := askStatus(ctx, r.client, id)
		if err != nil {
			return err
		}
		if s.Paused {
			if status.State != "paused" || status.PID != 0 {
				return fmt.Errorf("the paused stream is %s", status)
			}
			continue
		}
		if status.State != "running" || status.PID == 0 {
			return fmt.Errorf("it does not run: %s", status)
		}
		want = append(want, status.PID)
	}
	var got []int
	for _, p := range r.runners() {
		if holdsFileBelow(p.PID, filepath.Join(r.DataDir, "streams")) {
			got = append(got, p.PID)
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(want, got) {
		return fmt.Errorf("there are the processes %v, and those of streams are %v", got, want)
	}
	return nil
}

// holdsFileBelow tells whether a process has a file of a folder open.
func holdsFileBelow(pid int, dir string) bool {
	return slices.ContainsFunc(links(pid), func(target string) bool {
		return strings.HasPrefix(target, dir+string(filepath.Separator))
	})
}

// holdsFiles tells whether the data directory has the files of these streams
// and of no others.
func (w crashWorld) holdsFiles(dataDir string) error {
	streams := maps.Clone(w.Streams)
	maps.DeleteFunc(streams, func(_ string, s *crashStream) bool { return s == nil })
	running := 0
	for _, s := range streams {
		if !s.Paused {
			running++
		}
	}
	entries, err := os.ReadDir(filepath.Join(dataDir, "streams"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	for _, e := range entries {
		if streams[e.Name()] == nil {
			return fmt.Errorf("the files of %s are there still", e.Name())
		}
	}
	return hasRunFolders(dataDir, running)
}

// hasRunFolders tells whether the data directory has folders of so many runners.
func hasRunFolders(dataDir string, want int) error {
	entries, err := os.ReadDir(filepath.Join(dataDir, "run"))
	if err == nil && len(entries) != want {
		err = fmt.Errorf("there are %d folders of runners, not %d", len(entries), want)
	}
	return err
}
