package main

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// catalogued is a runner, and a config that needs it.
type catalogued struct {
	// name is the catalogue's.
	name string
	// processors are those that the smaller runners do not have. No message
	// reaches them, so that all streams have the same to do.
	processors string
}

// cataloguedRunners begin with the smallest.
var cataloguedRunners = []catalogued{
	{"core", "- uppercase: {}"},
	{"messaging", "- redis: {url: 'redis://127.0.0.1:1', command: get, args_mapping: 'root = [content()]'}"},
	{"connect", "- javascript: {code: 'benthos.v0_msg_set_string(\"\")'}"},
}

// config is that of a stream which only this runner can host.
func (c catalogued) config() string {
	if c.name == cataloguedRunners[0].name {
		return streamConfig
	}
	never := "    - switch:\n      - check: \"false\"\n        processors:\n        " + c.processors + "\n"
	return strings.Replace(streamConfig, "output:\n", never+"output:\n", 1)
}

// file is the name of the binary.
func (c catalogued) file() string {
	if c.name == cataloguedRunners[0].name {
		return "penstock-runner"
	}
	return "penstock-runner-" + c.name
}

// runners compares what a stream costs on each runner of the catalogue: all are
// installed, and each stream is on the one that it needs.
func (b *bench) runners(ctx context.Context, rep *report) error {
	folder := filepath.Join(b.dir, "catalogue")
	if err := b.buildRunners(ctx, folder); err != nil {
		return err
	}
	s, err := b.startPenstock(ctx, host{}, "--runner", filepath.Join(folder, cataloguedRunners[0].file()), "--set", poolKey+"=0")
	if err != nil {
		return err
	}
	defer s.stop()

	starts := section{Name: "runners", First: "this", Second: "core",
		Title: fmt.Sprintf("A stream on each runner: %d are created one after another, without a warm pool", b.opts.BlockSize)}
	var core []float64
	for i, c := range cataloguedRunners {
		figures, err := b.costOfRunner(ctx, s, c, folder)
		if err != nil {
			return fmt.Errorf("runner %s: %w", c.name, err)
		}
		if i == 0 {
			core = figures
		}
		for n, m := range runnerMeasures {
			starts.Rows = append(starts.Rows, ratio(c.name+": "+m.name, m.unit, figures[n], core[n]))
		}
	}
	rep.Sections = append(rep.Sections, starts)
	return nil
}

// runnerMeasures are what costOfRunner returns.
var runnerMeasures = []struct {
	name string
	unit unit
}{
	{"create → first call answered, p50", milliseconds},
	{"PSS of an idle stream", megabytes},
	{"private memory of an idle stream", megabytes},
	{"size of the binary", megabytes},
}

// costOfRunner measures streams on one of the runners, and deletes them.
func (b *bench) costOfRunner(ctx context.Context, s *server, c catalogued, folder string) ([]float64, error) {
	var took []float64
	var pids []int
	for i := range b.opts.BlockSize {
		id := fmt.Sprintf("%s%d", c.name, i)
		begun := time.Now()
		if _, err := s.call(ctx, http.MethodPost, "/streams/"+id, c.config()); err != nil {
			return nil, err
		}
		if err := s.awaitAnswer(ctx, "/"+id+"/post", answer); err != nil {
			return nil, err
		}
		took = append(took, time.Since(begun).Seconds()*1e3)
		status, err := s.status(ctx, id)
		if err != nil {
			return nil, err
		}
		if status.Runner != c.name {
			return nil, fmt.Errorf("stream %s is on the runner %q", id, status.Runner)
		}
		pids = append(pids, status.PID)
	}
	if err := pause(ctx, b.opts.Idle); err != nil {
		return nil, err
	}
	all, err := memoryOfAll(pids)
	if err != nil {
		return nil, err
	}
	for i := range pids {
		if _, err := s.call(ctx, http.MethodDelete, "/streams/"+fmt.Sprintf("%s%d", c.name, i), ""); err != nil {
			return nil, err
		}
	}
	binary, err := os.Stat(filepath.Join(folder, c.file()))
	if err != nil {
		return nil, err
	}
	n := float64(len(pids))
	return []float64{median(took), float64(all.PSS) / n, float64(all.Private) / n, float64(binary.Size())}, nil
}

// buildRunners makes the binaries of all runners, as they are shipped. The
// larger ones are modules of their own.
func (b *bench) buildRunners(ctx context.Context, folder string) error {
	root, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "penstock").Output()
	if err != nil {
		return fmt.Errorf("finding the source: %w", err)
	}
	for _, c := range cataloguedRunners {
		b.say("building %s", c.file())
		cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", filepath.Join(folder, c.file()), ".")
		cmd.Dir = filepath.Join(strings.TrimSpace(string(root)), "cmd", c.file())
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		cmd.WaitDelay = 5 * time.Second
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("building %s: %w: %s", c.file(), cmp.Or(context.Cause(ctx), err), out)
		}
	}
	return nil
}
