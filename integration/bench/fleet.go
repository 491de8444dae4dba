package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	// fleetWorkers is how many streams are created at a time.
	fleetWorkers = 8
	// scrapes is how often the metrics are read, after the first time.
	scrapes = 9
)

// fleet measures a supervisor with many streams: how soon the next one has
// them when it was killed, and what reading their metrics takes.
func (b *bench) fleet(ctx context.Context, rep *report) (err error) {
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
	took, err := s.createMany(ctx, 0, b.opts.Adopted)
	if err != nil {
		return err
	}
	rep.Fleet = append(rep.Fleet, row{
		Measure: fmt.Sprintf("create %d streams, %d at a time", b.opts.Adopted, fleetWorkers),
		Unit:    milliseconds, First: took.Seconds() * 1e3,
	})

	if err := s.cmd.Process.Kill(); err != nil {
		return err
	}
	<-s.exited
	s.client.CloseIdleConnections()
	begun := time.Now()
	if s, err = b.startPenstockIn(ctx, host{}, dir); err != nil {
		return err
	}
	pong := time.Now()
	if err := s.awaitAdopted(ctx, b.opts.Adopted); err != nil {
		return err
	}
	adopted := time.Now()
	rep.Fleet = append(rep.Fleet,
		row{Measure: fmt.Sprintf("restart over %d runners: exec → /ping answers", b.opts.Adopted), Unit: milliseconds, First: pong.Sub(begun).Seconds() * 1e3},
		row{Measure: fmt.Sprintf("/ping answers → all %d adopted", b.opts.Adopted), Unit: milliseconds, First: adopted.Sub(pong).Seconds() * 1e3},
	)

	if _, err := s.createMany(ctx, b.opts.Adopted, b.opts.Scraped); err != nil {
		return err
	}
	all, err := s.scrape(ctx, b.opts.Scraped, 0)
	if err != nil {
		return err
	}
	first, err := s.status(ctx, fleetID(0))
	if err != nil {
		return err
	}
	if err := syscall.Kill(first.PID, syscall.SIGSTOP); err != nil {
		return fmt.Errorf("stopping a runner: %w", err)
	}
	hung, err := s.scrape(ctx, b.opts.Scraped, 1)
	err = errors.Join(err, syscall.Kill(first.PID, syscall.SIGCONT))
	if err != nil {
		return err
	}
	rep.Fleet = append(rep.Fleet,
		row{Measure: fmt.Sprintf("scrape of %d streams, p50", b.opts.Scraped), Unit: milliseconds, First: percentile(all, 0.5)},
		row{Measure: fmt.Sprintf("scrape of %d streams, slowest of %d", b.opts.Scraped, scrapes), Unit: milliseconds, First: percentile(all, 1)},
		row{Measure: "the same with one runner that hangs, p50", Unit: milliseconds, First: percentile(hung, 0.5)},
	)
	return s.alive()
}

func fleetID(n int) string { return fmt.Sprintf("fleet%d", n) }

// createMany creates the streams with the numbers from up to, but for, to.
func (s *server) createMany(ctx context.Context, from, to int) (time.Duration, error) {
	begun := time.Now()
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(fleetWorkers)
	for n := from; n < to; n++ {
		group.Go(func() error {
			_, err := s.call(ctx, http.MethodPost, "/streams/"+fleetID(n), streamConfig)
			return err
		})
	}
	err := group.Wait()
	return time.Since(begun), err
}

// awaitAdopted waits until the supervisor has adopted so many runners.
func (s *server) awaitAdopted(ctx context.Context, want int) error {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	line := fmt.Sprintf("\npenstock_adoptions_total{result=\"adopted\"} %d\n", want)
	for {
		text, err := s.call(ctx, http.MethodGet, "/metrics", "")
		if err != nil {
			return err
		}
		if strings.Contains(text, line) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: not all of %d runners were adopted", ctx.Err(), want)
		case <-time.After(time.Millisecond):
		}
	}
}

// scrape reads the metrics again and again, of as many streams as there must
// be, of which some do not answer. It returns how long each time took, in ms.
func (s *server) scrape(ctx context.Context, streams, hung int) ([]float64, error) {
	var took []float64
	for i := range 1 + scrapes {
		begun := time.Now()
		text, err := s.call(ctx, http.MethodGet, "/metrics", "")
		if err != nil {
			return nil, err
		}
		// A runner that was just stopped may have answered once more.
		if i == 0 {
			continue
		}
		took = append(took, time.Since(begun).Seconds()*1e3)
		if answered := strings.Count(text, "\ninput_received{"); answered != streams-hung {
			return nil, fmt.Errorf("the metrics are of %d streams instead of %d", answered, streams-hung)
		}
	}
	return took, nil
}

// endAll kills the processes that have a folder in their environment: runners
// of a supervisor that is gone.
func endAll(dir string) error {
	environments, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		return err
	}
	for _, file := range environments {
		text, err := os.ReadFile(file)
		if err != nil || !bytes.Contains(text, []byte(dir+"/")) {
			continue // it has ended, or is none of ours
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if err != nil {
			return err
		}
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	return nil
}
