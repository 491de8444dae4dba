package supervisor

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-plugin"

	"penstock/rpc"
)

// What a scriptedRunner does, by what its config holds.
const (
	// hanging, in a stream or a resource, has it answer nothing any more once
	// it is prepared.
	hanging = "hanging: true"
	// hangingRun has it never answer Run.
	hangingRun = "hanging: run"
	// needing has it refuse a config without the resource c.
	needing = "needs: c"
)

// The files of a stream's folder by which a scriptedRunner is told what to do.
const (
	toFail   = "fail"
	toFinish = "finish"
	toLeave  = "leave"
)

// scriptedRunner is a runner without an engine, which any config suits.
type scriptedRunner struct {
	identity          rpc.Identity
	dir               string
	hangs, hangsAtRun bool
	leaving           atomic.Bool
	ended, finished   chan struct{}
}

var _ rpc.Runner = (*scriptedRunner)(nil)

func newScriptedRunner() *scriptedRunner {
	// A test that is killed leaves no runner behind.
	parent := os.Getppid()
	go func() {
		for os.Getppid() == parent {
			time.Sleep(50 * time.Millisecond)
		}
		os.Exit(1)
	}()
	return &scriptedRunner{ended: make(chan struct{}), finished: make(chan struct{})}
}

// Prepare implements rpc.Runner.
func (r *scriptedRunner) Prepare(_ context.Context, req rpc.PrepareRequest) (rpc.Prepared, error) {
	r.identity = rpc.Identity{StreamID: req.StreamID, Instance: req.Instance, Version: "scripted", Phase: rpc.PhasePrepared, PID: os.Getpid()}
	for _, res := range req.Resources {
		r.hangs = r.hangs || !req.ResourcesOnly && bytes.Contains(res.Config, []byte(hanging))
	}
	isC := func(res rpc.Resource) bool { return res.ID == "c" }
	if bytes.Contains(req.Config, []byte(needing)) && !slices.ContainsFunc(req.Resources, isC) {
		return rpc.Prepared{}, &rpc.Rejection{Kind: rpc.RejectBuild, Message: "there is no resource c"}
	}
	r.hangs = r.hangs || bytes.Contains(req.Config, []byte(hanging))
	r.hangsAtRun = bytes.Contains(req.Config, []byte(hangingRun))
	if r.dir = req.LogDir; r.dir != "" {
		err := errors.Join(os.MkdirAll(r.dir, 0o700), os.WriteFile(filepath.Join(r.dir, "stream.log"), nil, 0o600))
		if err != nil {
			return rpc.Prepared{}, err
		}
	}
	return rpc.Prepared{HTTPSocket: filepath.Join(os.Getenv(plugin.EnvUnixSocketDir), "http.sock")}, nil
}

// Identify implements rpc.Runner.
func (r *scriptedRunner) Identify(context.Context) (rpc.Identity, error) {
	if r.hangs {
		select {}
	}
	id := r.identity
	if r.leaving.Load() {
		id.Phase = rpc.PhaseLeaving
	}
	return id, nil
}

// Rehearse implements rpc.Runner.
func (r *scriptedRunner) Rehearse(context.Context, rpc.ComponentPolicy) error { return nil }

// Share implements rpc.Runner.
func (r *scriptedRunner) Share(context.Context, []rpc.Resource) ([]rpc.Refusal, error) {
	return nil, nil
}

// Assume implements rpc.Runner.
func (r *scriptedRunner) Assume(context.Context, rpc.Assignment) error { return nil }

// Run implements rpc.Runner.
func (r *scriptedRunner) Run(context.Context) error {
	if r.hangsAtRun {
		select {}
	}
	if r.told(toFail) {
		return errors.New("it is to fail")
	}
	r.identity.Phase = rpc.PhaseRunning
	go r.obey()
	return nil
}

// obey waits for what the runner is told.
func (r *scriptedRunner) obey() {
	for {
		switch {
		case r.told(toFinish):
			close(r.finished)
			return
		case r.told(toLeave):
			r.leaving.Store(true)
			_ = rpc.WriteExitRecord(os.Getenv(plugin.EnvUnixSocketDir), rpc.ExitRecord{At: time.Now(), Reason: rpc.ExitStopped})
			// Until it has been seen leaving.
			time.AfterFunc(time.Second, func() { os.Exit(0) })
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func (r *scriptedRunner) told(what string) bool {
	_, err := os.Stat(filepath.Join(r.dir, what))
	return err == nil
}

// Stop implements rpc.Runner.
func (r *scriptedRunner) Stop(context.Context, time.Duration) (bool, error) {
	close(r.ended)
	return true, nil
}

// Ready implements rpc.Runner.
func (r *scriptedRunner) Ready(context.Context) (rpc.Readiness, error) {
	return rpc.Readiness{Ready: true}, nil
}

// Stats implements rpc.Runner.
func (r *scriptedRunner) Stats(context.Context) ([]rpc.Metric, error) { return nil, nil }

// Events implements rpc.Runner.
func (r *scriptedRunner) Events(ctx context.Context, emit func(rpc.Event) error) error {
	if err := emit(rpc.Event{}); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-r.finished:
		return emit(rpc.Event{Finished: &rpc.Finished{}})
	case <-r.ended:
		return errors.New("it was stopped")
	}
}

// SetLogLevel implements rpc.Runner.
func (r *scriptedRunner) SetLogLevel(context.Context, string) error { return nil }

// SetLimits implements rpc.Runner.
func (r *scriptedRunner) SetLimits(context.Context, rpc.Limits) error { return nil }
