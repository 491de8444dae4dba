package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
)

// memory measures idle streams in three houses, all at the same time: each in
// a runner, each in an engine's process of its own, and all in one process.
// There are as many of the second as of the first, so that the pages which
// processes share are divided by the same number.
func (b *bench) memory(ctx context.Context, rep *report) error {
	n := b.opts.Streams
	penstock, err := b.startPenstock(ctx, host{})
	if err != nil {
		return err
	}
	defer penstock.stop()
	reference, err := b.startStreamsMode(ctx)
	if err != nil {
		return err
	}
	defer reference.stop()
	var bare []*server
	defer func() { stopAll(bare) }()
	for i := range n {
		for _, s := range []*server{penstock, reference} {
			if _, err := s.call(ctx, http.MethodPost, "/streams/"+idleID(i), streamConfig); err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
		}
		s, err := b.startBare(ctx)
		if err != nil {
			return err
		}
		bare = append(bare, s)
	}
	if err := pause(ctx, b.opts.Idle); err != nil {
		return err
	}

	var pids []int
	for i := range n {
		status, err := penstock.status(ctx, idleID(i))
		if err != nil {
			return err
		}
		pids = append(pids, status.PID)
	}
	runners, err := memoryOfAll(pids)
	if err != nil {
		return err
	}
	all, err := descendants(penstock.cmd.Process.Pid)
	if err != nil {
		return err
	}
	spare, err := memoryOfAll(slices.DeleteFunc(all, func(pid int) bool { return slices.Contains(pids, pid) }))
	if err != nil {
		return err
	}
	supervisor, err := memoryOf(penstock.cmd.Process.Pid)
	if err != nil {
		return err
	}
	shared, err := memoryOf(reference.cmd.Process.Pid)
	if err != nil {
		return err
	}
	pids = nil
	for _, s := range bare {
		pids = append(pids, s.cmd.Process.Pid)
	}
	alone, err := memoryOfAll(pids)
	if err != nil {
		return err
	}
	for _, s := range append(bare, penstock, reference) {
		err = errors.Join(err, s.alive())
	}
	if err != nil {
		return err
	}

	each := func(bytes int64) float64 { return float64(bytes) / float64(n) }
	pss := ratio(fmt.Sprintf("PSS of an idle stream of %d: runner / bare `run` process", n), megabytes, each(runners.PSS), each(alone.PSS))
	rep.Rows = append(rep.Rows, pss)
	rep.judgeRatio(8, pss, atMost, 0.80)
	rep.compare("private memory of an idle stream: runner / bare `run` process", megabytes, each(runners.Private), each(alone.Private))
	rep.compare(fmt.Sprintf("PSS of all with %d streams: supervisor and runners / streams mode", n), megabytes,
		float64(supervisor.PSS+runners.PSS+spare.PSS), float64(shared.PSS))
	rep.alone("of it the supervisor", megabytes, float64(supervisor.PSS))
	if spare.PSS > 0 {
		rep.alone("of it processes that have no stream yet", megabytes, float64(spare.PSS))
	}
	return nil
}

func idleID(n int) string { return fmt.Sprintf("idle%d", n) }
