package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// arrivalRate is how many calls of a victim are due in a second.
	arrivalRate = 200
	// mostWaiting is how many of them may wait for an answer at a time.
	mostWaiting = 4096
)

// caller is a connection that carries one call at a time.
type caller struct {
	net.Conn
	r   *bufio.Reader
	buf []byte
}

// regular is calls of a stream at fixed times.
type regular struct {
	path string
	// rate is how many calls are due in a second, whether or not those before
	// were answered.
	rate int
	// right lists the answers that are.
	right []string
	// tolerant says that other answers are counted; else they end it.
	tolerant bool
}

// steady is the calls of a stream that nobody changes.
func steady(path string) regular {
	return regular{path: path, rate: arrivalRate, right: []string{answer}}
}

// arrivals calls a stream at fixed times and measures from these times on, not
// from when a call could be sent: one that a busy server or machine holds up
// counts with all of its delay, and so do those that are due meanwhile.
type arrivals struct {
	regular
	server  *server
	request []byte

	mu      sync.Mutex
	callers []*caller // all of them
	idle    []*caller
	heard   heard
}

// heard is how long calls took, in milliseconds.
type heard struct {
	// took is from the time that a call was due until its answer was read, and
	// late the part of it that had passed when it was sent.
	took, late []float64
	// failed counts the calls that were not answered right, which are in neither,
	// and failure is the first of them.
	failed  int
	failure error
}

// hear calls a stream at fixed times for a while.
func (s *server) hear(ctx context.Context, r regular, d time.Duration) (heard, error) {
	a := &arrivals{regular: r, server: s, request: requestOf(s, small(r.path))}
	defer a.hangUp()
	// Who calls all the time has connections.
	for range connections {
		c, err := a.dial(ctx)
		if err != nil {
			return heard{}, err
		}
		a.idle = append(a.idle, c)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(ctx, a.hangUp)()

	var calls sync.WaitGroup
	waiting := make(chan struct{}, mostWaiting)
	begun := time.Now()
	for n := range int(d.Seconds() * float64(a.rate)) {
		due := begun.Add(time.Duration(n) * time.Second / time.Duration(a.rate))
		if err := sleepUntil(due); err != nil {
			cancel(err)
		}
		select {
		case waiting <- struct{}{}:
		default:
			cancel(fmt.Errorf("%d calls wait for their answers: the server cannot keep up", mostWaiting))
		}
		if ctx.Err() != nil {
			break
		}
		calls.Go(func() {
			if err := a.call(ctx, due); err != nil && !a.forgive(err) {
				cancel(err)
			}
			<-waiting
		})
	}
	calls.Wait()
	if ctx.Err() != nil {
		return heard{}, fmt.Errorf("after %d right answers: %w", len(a.heard.took), context.Cause(ctx))
	}
	return a.heard, nil
}

// call makes the call that was due at a time.
func (a *arrivals) call(ctx context.Context, due time.Time) (err error) {
	c, err := a.caller(ctx)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			// Nobody knows what comes next on it.
			_ = c.Close()
		}
	}()
	sent := time.Now()
	if err := c.SetDeadline(sent.Add(answerTimeout)); err != nil {
		return err
	}
	if _, err := c.Write(a.request); err != nil {
		return fmt.Errorf("sending a request: %w", err)
	}
	if err := readRight(c.r, c.buf, a.right...); err != nil {
		return err
	}
	took := time.Since(due)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.heard.took = append(a.heard.took, took.Seconds()*1e3)
	a.heard.late = append(a.heard.late, sent.Sub(due).Seconds()*1e3)
	a.idle = append(a.idle, c)
	return nil
}

// forgive counts a failure if they are tolerated.
func (a *arrivals) forgive(err error) bool {
	if !a.tolerant {
		return false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.heard.failed++
	a.heard.failure = cmp.Or(a.heard.failure, err)
	return true
}

// caller returns the connection that was used last, which is likely to be
// served soonest, or a new one when all are in use.
func (a *arrivals) caller(ctx context.Context) (*caller, error) {
	a.mu.Lock()
	if last := len(a.idle) - 1; last >= 0 {
		defer a.mu.Unlock()
		c := a.idle[last]
		a.idle = a.idle[:last]
		return c, nil
	}
	a.mu.Unlock()
	return a.dial(ctx)
}

func (a *arrivals) dial(ctx context.Context) (*caller, error) {
	conn, err := a.server.where.dial(ctx, "tcp", a.server.addr)
	if err != nil {
		return nil, err
	}
	c := &caller{Conn: conn, r: bufio.NewReader(conn), buf: make([]byte, 0, len(answer))}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.callers = append(a.callers, c)
	return c, nil
}

// hangUp closes all connections.
func (a *arrivals) hangUp() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, c := range a.callers {
		_ = c.Close()
	}
}

// sleepUntil sleeps more exactly than Go's timers, which wait in whole
// milliseconds where nothing else goes on: as long as an answer takes.
func sleepUntil(due time.Time) error {
	for {
		left := time.Until(due)
		if left <= 0 {
			return nil
		}
		timeout := unix.NsecToTimeval(left.Nanoseconds())
		if _, err := unix.Select(0, nil, nil, nil, &timeout); err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("sleeping: %w", err)
		}
	}
}
