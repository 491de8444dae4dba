package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	// listEach is the time from one list of the streams to the next while they
	// are created.
	listEach = 100 * time.Millisecond
	// readies is how often all streams are asked whether they are ready.
	readies = 9
)

// thousand measures a supervisor with more streams than most have.
func (b *bench) thousand(ctx context.Context, rep *report) (err error) {
	n := b.opts.Thousand
	dir, err := os.MkdirTemp(b.dir, "p")
	if err != nil {
		return err
	}
	// Should no supervisor be there to end them.
	defer func() { err = errors.Join(err, endAll(dir)) }()
	s, err := b.startPenstockIn(ctx, host{}, dir)
	if err != nil {
		return err
	}
	defer func() { s.stop() }()

	created, listed, err := s.createListed(ctx, n)
	if err != nil {
		return err
	}
	rep.Samples.Created, rep.Samples.Listed = created, listed
	ready, err := s.askReady(ctx)
	if err != nil {
		return err
	}
	idle, err := s.idle(ctx, b.opts.Quiet)
	if err != nil {
		return err
	}
	adopted, err := b.replace(ctx, &s, dir, n)
	if err != nil {
		return err
	}

	var lists []float64
	for _, l := range listed {
		lists = append(lists, l.Took)
	}
	streams := fmt.Sprintf("%d streams: ", n)
	figure := func(measure string, u unit, v float64) row { return row{Measure: measure, Unit: u, First: v} }
	sec := section{Name: "thousand", First: "Penstock", Title: fmt.Sprintf("%d streams, created %d at a time, of Penstock alone", n, fleetWorkers)}
	for _, m := range []struct {
		number int
		row    row
		goal   float64
	}{
		{10, figure(streams+"created from cold", seconds, created[len(created)-1].At), 25},
		{10, figure(streams+"GET /streams meanwhile, p99", milliseconds, percentile(lists, 0.99)), 30},
		{10, figure(streams+fmt.Sprintf("/ready, slowest of %d", readies), milliseconds, percentile(ready, 1)), 250},
		{10, figure(streams+"memory (RSS) of the supervisor, idle", megabytes, float64(idle.resident)), 120e6},
		{10, figure(streams+"CPU of the supervisor, idle, of a core", percent, idle.cpu*100), 1},
		{11, figure(streams+"supervisor SIGKILLed → all adopted", seconds, adopted.Seconds()), 2},
	} {
		sec.Rows = append(sec.Rows, m.row)
		rep.judge(m.number, m.row, m.goal)
	}
	sec.Rows = append(sec.Rows,
		figure("GET /streams meanwhile, p50", milliseconds, percentile(lists, 0.5)),
		figure("memory (PSS) of all processes, idle", megabytes, float64(idle.all)),
		figure("CPU of all runners, idle, of a core", percent, idle.runners*100),
	)
	rep.Sections = append(rep.Sections, sec)
	return s.alive()
}

// createListed creates streams, and lists them all the while at fixed times.
func (s *server) createListed(ctx context.Context, n int) (created, listed []moment, err error) {
	begun := time.Now()
	creating, done := context.WithCancel(ctx)
	defer done()
	lists, listing := errgroup.WithContext(ctx)
	lists.Go(func() error {
		for due := begun; creating.Err() == nil; due = due.Add(listEach) {
			if err := pause(creating, time.Until(due)); err != nil {
				break // all are created
			}
			if _, err := s.call(listing, http.MethodGet, "/streams", ""); err != nil {
				return err
			}
			listed = append(listed, momentOf(begun, due))
		}
		return ctx.Err()
	})
	var mu sync.Mutex
	creates, working := errgroup.WithContext(listing)
	creates.SetLimit(fleetWorkers)
	for i := range n {
		creates.Go(func() error {
			at := time.Now()
			_, err := s.call(working, http.MethodPost, "/streams/"+fleetID(i), streamConfig)
			mu.Lock()
			defer mu.Unlock()
			created = append(created, momentOf(begun, at))
			return err
		})
	}
	err = creates.Wait()
	done()
	return created, listed, errors.Join(err, lists.Wait())
}

// momentOf is of something that began at a time and ends now.
func momentOf(first, at time.Time) moment {
	now := time.Now()
	return moment{At: now.Sub(first).Seconds(), Took: now.Sub(at).Seconds() * 1e3}
}

// askReady waits until all streams are ready, and then asks again and again. It
// returns how long the answers took, in ms.
func (s *server) askReady(ctx context.Context) ([]float64, error) {
	if err := s.await(ctx, func() error {
		_, err := s.call(ctx, http.MethodGet, "/ready", "")
		return err
	}); err != nil {
		return nil, err
	}
	var took []float64
	for range readies {
		begun := time.Now()
		if _, err := s.call(ctx, http.MethodGet, "/ready", ""); err != nil {
			return nil, err
		}
		took = append(took, time.Since(begun).Seconds()*1e3)
	}
	return took, nil
}

// idle is what a supervisor with idle streams takes.
type idle struct {
	// resident is the supervisor's memory, and all that of all processes.
	resident, all int64
	// cpu and runners are shares of one core.
	cpu, runners float64
}

// idle leaves a server alone for a while and tells what it takes.
func (s *server) idle(ctx context.Context, d time.Duration) (idle, error) {
	var i idle
	supervisor := s.cmd.Process.Pid
	all, err := descendants(supervisor)
	if err != nil {
		return i, err
	}
	if err := pause(ctx, d/5); err != nil {
		return i, err
	}
	var cpu, runners [2]time.Duration
	begun := time.Now()
	for at := range cpu {
		if at > 0 {
			if err := pause(ctx, d); err != nil {
				return i, err
			}
		}
		if cpu[at], err = threadTimes([]int{supervisor}); err != nil {
			return i, err
		}
		if runners[at], err = threadTimes(all); err != nil {
			return i, err
		}
	}
	elapsed := time.Since(begun).Seconds()
	i.cpu, i.runners = (cpu[1]-cpu[0]).Seconds()/elapsed, (runners[1]-runners[0]).Seconds()/elapsed
	resident, err := residentOf(supervisor)
	if err != nil {
		return i, err
	}
	i.resident = resident.now
	sum, err := memoryOfAll(append(all, supervisor))
	i.all = sum.PSS
	return i, err
}

// replace kills a supervisor and starts another one over its runners. It tells
// the time from the kill until the last stream was adopted.
func (b *bench) replace(ctx context.Context, s **server, dir string, n int) (time.Duration, error) {
	begun := time.Now()
	if err := (*s).cmd.Process.Kill(); err != nil {
		return 0, err
	}
	<-(*s).exited
	(*s).client.CloseIdleConnections()
	next, err := b.startPenstockIn(ctx, host{}, dir)
	if err != nil {
		return 0, err
	}
	*s = next
	// The list is asked, since it costs the server little.
	if err := next.await(ctx, func() error {
		text, err := next.call(ctx, http.MethodGet, "/streams", "")
		if active := strings.Count(text, `"active":true`); err == nil && active != n {
			err = fmt.Errorf("%d of %d streams are active", active, n)
		}
		return err
	}); err != nil {
		return 0, err
	}
	took := time.Since(begun)
	// None of them was started anew.
	return took, next.awaitAdopted(ctx, n)
}
