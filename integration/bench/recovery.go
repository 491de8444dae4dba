package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"syscall"
	"time"
)

// life is what came of one stream: how long its creation took, and then how
// long it was away when its runner was killed.
type life struct{ create, createCall, active, activeCall time.Duration }

// recovery kills runners. Each is the first of a stream of its own, so that
// none has to wait for having died before, and its time is compared with that
// of creating the same stream a moment ago.
func (b *bench) recovery(ctx context.Context, rep *report) error {
	s, err := b.startPenstock(ctx, host{})
	if err != nil {
		return err
	}
	defer s.stop()
	var lives []life
	for i := range warmUps + b.opts.Kills {
		l, err := s.live(ctx, fmt.Sprintf("killed%d", i))
		if err != nil {
			return err
		}
		if i >= warmUps {
			lives = append(lives, l)
		}
	}
	list := func(of func(life) time.Duration) []float64 {
		out := make([]float64, len(lives))
		for i, l := range lives {
			out[i] = of(l).Seconds() * 1e3
		}
		return out
	}
	for _, m := range []struct {
		name          string
		first, second []float64
	}{
		{"SIGKILL → active again / create → 200", list(func(l life) time.Duration { return l.active }), list(func(l life) time.Duration { return l.create })},
		{"SIGKILL → first call answered / create → first call answered", list(func(l life) time.Duration { return l.activeCall }), list(func(l life) time.Duration { return l.createCall })},
	} {
		for _, p := range []struct {
			name string
			at   float64
		}{{"p50", 0.5}, {"p99", 0.99}} {
			rep.Recovery = append(rep.Recovery, ratio(m.name+", "+p.name, milliseconds, percentile(m.first, p.at), percentile(m.second, p.at)))
		}
	}
	away := percentile(list(func(l life) time.Duration { return l.activeCall }), 0.5)
	rep.judge(9, row{Measure: "runner SIGKILLed → first call answered, p50", Unit: milliseconds, First: away}, 30)
	return nil
}

// live creates a stream, kills its runner, waits until it is back, and deletes
// it.
func (s *server) live(ctx context.Context, id string) (life, error) {
	var l life
	begun := time.Now()
	if _, err := s.call(ctx, http.MethodPost, "/streams/"+id, streamConfig); err != nil {
		return l, err
	}
	l.create = time.Since(begun)
	if err := s.awaitAnswer(ctx, "/"+id+"/post", answer); err != nil {
		return l, err
	}
	l.createCall = time.Since(begun)
	before, err := s.status(ctx, id)
	if err != nil {
		return l, err
	}

	// Asking again and again would take the CPU from those who are to answer.
	events, err := s.follow(ctx, id)
	if err != nil {
		return l, err
	}
	defer events.Close()
	begun = time.Now()
	if err := syscall.Kill(before.PID, syscall.SIGKILL); err != nil {
		return l, fmt.Errorf("killing the runner of %s: %w", id, err)
	}
	if err := awaitRunning(events); err != nil {
		return l, fmt.Errorf("stream %s, whose runner was killed: %w", id, err)
	}
	l.active = time.Since(begun)
	if err := s.awaitAnswer(ctx, "/"+id+"/post", answer); err != nil {
		return l, err
	}
	l.activeCall = time.Since(begun)
	_, err = s.call(ctx, http.MethodDelete, "/streams/"+id, "")
	return l, err
}

// streamStatus is what is read of a stream's status, and of its events.
type streamStatus struct {
	State string `json:"state"`
	PID   int    `json:"pid"`
	// Runner is the name that the catalogue has for what hosts it.
	Runner string `json:"runner"`
}

func (s *server) status(ctx context.Context, id string) (status streamStatus, err error) {
	text, err := s.call(ctx, http.MethodGet, "/streams/"+id+"/status", "")
	if err != nil {
		return status, err
	}
	if err := json.Unmarshal([]byte(text), &status); err != nil {
		return status, fmt.Errorf("the status of %s: %w: %s", id, err, text)
	}
	return status, nil
}

// follow opens the events of a stream, which the caller has to close.
func (s *server) follow(ctx context.Context, id string) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.addr+"/streams/"+id+"/events", nil)
	if err != nil {
		return nil, err
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		_ = resp.Body.Close()
		return nil, fmt.Errorf("the events of %s: %s", id, resp.Status)
	}
	return resp.Body, nil
}

// awaitRunning reads events until one says that the stream runs.
func awaitRunning(events io.Reader) error {
	lines := bufio.NewScanner(events)
	for lines.Scan() {
		data, found := bytes.CutPrefix(lines.Bytes(), []byte("data: "))
		if !found {
			continue
		}
		var event streamStatus
		if err := json.Unmarshal(data, &event); err != nil {
			return fmt.Errorf("an event: %w: %s", err, data)
		}
		if event.State == "running" {
			return nil
		}
	}
	return cmp.Or(lines.Err(), io.ErrUnexpectedEOF)
}
