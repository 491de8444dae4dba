package api

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"penstock/supervisor"
	"penstock/supervisor/calls"
	"penstock/supervisor/catalogue"
	"penstock/supervisor/events"
	"penstock/supervisor/logs"
)

// life is what a recorder keeps of the life of its streams.
type life struct {
	// did is the last thing that was done, with the id of its stream.
	did string
	// rolledBackTo is the revision of the last rollback.
	rolledBackTo uint64
	level        string
	// held counts the functions that were not given back.
	held int
	// replacing makes Function wait; nil when no stream is being replaced.
	replacing chan struct{}
	// waiting counts the calls of Function that wait.
	waiting int
	// submitted is the last asynchronous call.
	submitted calls.Request
	// async is what the config of every stream says.
	async bool
	// call is the only asynchronous call there is.
	call calls.Call
	// replicated says that every stream has several runners, and replicas and
	// connections are what their status says then.
	replicated  bool
	replicas    *supervisor.Replicas
	connections []supervisor.Connection
	// logNumber is the number of the runner whose log was asked for.
	logNumber int
}

func (r *recorder) lived() life {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.life
}

func (r *recorder) control(what, id string, ch supervisor.Change) error {
	if _, err := r.find(r.streams, id); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.did, r.change = what+" "+id, ch
	return nil
}

func (r *recorder) Pause(_ context.Context, id string, ch supervisor.Change) error {
	return r.control("pause", id, ch)
}

func (r *recorder) Resume(_ context.Context, id string, ch supervisor.Change) error {
	return r.control("resume", id, ch)
}

func (r *recorder) Restart(_ context.Context, id string, ch supervisor.Change) error {
	return r.control("restart", id, ch)
}

// then is when everything happens.
var then = time.Date(2026, 11, 21, 9, 30, 0, 0, time.UTC)

func (r *recorder) Revisions(id string) ([]supervisor.Revision, error) {
	doc, err := r.find(r.streams, id)
	if err != nil {
		return nil, err
	}
	return []supervisor.Revision{
		{Number: 2, At: then.Add(time.Minute), Origin: "api", Chilled: true, Document: doc},
		{Number: 1, At: then, Origin: "file", Document: doc},
	}, nil
}

func (r *recorder) Rollback(_ context.Context, id string, revision uint64, ch supervisor.Change) error {
	if revision > 2 {
		return supervisor.ErrNotFound
	}
	if err := r.control("rollback", id, ch); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rolledBackTo = revision
	return nil
}

func (r *recorder) Status(_ context.Context, id string) (supervisor.Status, error) {
	if _, err := r.find(r.streams, id); err != nil {
		return supervisor.Status{}, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	connections := []supervisor.Connection{{Path: "root.input", Label: "in", Connected: true}}
	if r.connections != nil {
		connections = r.connections
	}
	return supervisor.Status{
		ID: id, Desired: supervisor.DesiredRunning, State: supervisor.StateRunning, Since: then,
		Revision: 2, Origin: "api", Restarts: 1, PID: 42, Runner: "1.2.3", LogLevel: "info",
		Connections: connections, Replicas: r.replicas,
		LastExit: &supervisor.LastExit{
			Reason: "oom", Code: -1, Signal: "SIGKILL", At: then, Message: "panic: no", UsedBytes: 70, LimitBytes: 64,
		},
		Isolation: supervisor.Isolation{Process: true, Profile: supervisor.ProfileStrict, Limits: supervisor.Limits{
			Enforcement: supervisor.EnforcedByCgroup, Cgroup: "/x/r1", CgroupVersion: 2, MemoryBytes: 64, CPU: 0.5,
		}},
		Warnings: []string{"look at it"},
	}, nil
}

// Replicated implements Streams.
func (r *recorder) Replicated(string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.replicated
}

// haveSeveral has every stream have several runners.
func (r *recorder) haveSeveral(replicas *supervisor.Replicas) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.replicated, r.replicas = true, replicas
}

func (r *recorder) Subscribe(id, lastEventID string) (*events.Subscription, error) {
	if id != "" {
		if _, err := r.find(r.streams, id); err != nil {
			return nil, err
		}
	}
	return r.hub.Subscribe(id, lastEventID), nil
}

func (r *recorder) Log(id string, number int, q logs.Query) (*logs.Reader, error) {
	if _, err := r.find(r.streams, id); err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.logNumber = number
	if number > 2 {
		return nil, &supervisor.InvalidError{Message: "the stream has no such runner"}
	}
	return logs.Open(r.logs, q)
}

func (r *recorder) SetLogLevel(_ context.Context, id, level string) error {
	if err := r.control("log level", id, supervisor.Change{}); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.level = level
	return nil
}

func (r *recorder) Metrics() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		_, _ = io.WriteString(w, "penstock_streams 1\n# asked for as "+req.Header.Get("Accept")+"\n")
	})
}

func (r *recorder) RunnerVersion() string { return "1.2.4" }

func (r *recorder) RunnerVersions() map[string]string {
	return map[string]string{"core": "1.2.4", "mine": "0.1"}
}

func (r *recorder) Components(_ context.Context, class, runner string) ([]catalogue.Entry, error) {
	if class == "inputt" {
		return nil, fmt.Errorf("class %q: %w", class, supervisor.ErrNoComponent)
	}
	if err := r.fails(); err != nil {
		return nil, err
	}
	return []catalogue.Entry{{Class: "input", Name: "of " + class, Status: "stable", Summary: "Reads <it>.", Runners: []string{runner}}}, nil
}

func (r *recorder) Component(_ context.Context, class, name, runner string) (catalogue.Schema, error) {
	if err := r.fails(); err != nil {
		return nil, err
	}
	return catalogue.Schema{"class": class, "name": name, "runners": []string{runner}, "type": "object"}, nil
}

func (r *recorder) ConfigSchema(_ context.Context, runner string) (json.RawMessage, error) {
	if err := r.fails(); err != nil {
		return nil, err
	}
	return json.Marshal(catalogue.Schema{"title": "of " + runner})
}

func (r *recorder) fails() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

func (r *recorder) Function(ctx context.Context, _ string, call supervisor.Call) (supervisor.Function, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if replacing := r.replacing; replacing != nil {
		r.waiting++
		r.mu.Unlock()
		var err error
		select {
		case <-replacing:
		case <-ctx.Done():
			err = ctx.Err()
		}
		r.mu.Lock()
		r.waiting--
		if err != nil {
			return supervisor.Function{}, err
		}
	}
	if r.err != nil {
		return supervisor.Function{}, r.err
	}
	r.held++
	r.did = "function " + call.Method
	released := false
	return supervisor.Function{
		Calls: r.calls, RoundTripper: r.transport, HTTP: r.http,
		WhyLost: func() string { return "was killed" },
		Release: func() {
			r.mu.Lock()
			defer r.mu.Unlock()
			if released {
				panic("a function was given back twice")
			}
			released = true
			r.held--
		},
	}, nil
}
