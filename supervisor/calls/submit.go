package calls

import (
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"penstock/supervisor/options"
)

const (
	// busyPause and fullPause are guesses of when it is worth trying again.
	busyPause = time.Second
	fullPause = 10 * time.Second
)

// Where a request has its path and its host among its headers, whose names have
// no colon.
const (
	pathKey = ":path"
	hostKey = ":host"
)

// Submit keeps a call of a stream, which is carried out later. It returns once
// the call is on the disk.
//
// Errors: ErrTooLarge, ErrForbidden, ErrBadCallback, *BusyError, ErrFull,
// ErrClosed, and those of the file.
func (c *Calls) Submit(stream string, r Request) (Call, error) {
	e, request, err := c.admit(stream, r)
	if err != nil {
		return Call{}, err
	}
	kept := e.record
	err = c.commits.commit(func(tx transaction) error {
		if err := tx.putJSON(bucketCalls, keyOf(e.seq), kept); err != nil {
			return err
		}
		return tx.put(bucketRequests, keyOf(e.seq), request)
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	// What was reserved is counted anew.
	e.stream.open--
	e.stream.entries--
	c.take(e.stream, -e.size())
	if err != nil {
		c.tidy(e.stream)
		return Call{}, err
	}
	c.add(e)
	c.wake(e.stream)
	c.observer.CallAccepted()
	return kept.Call, nil
}

// admit reserves room for a call.
func (c *Calls) admit(stream string, r Request) (*entry, []byte, error) {
	refuse := func(reason string, err error) (*entry, []byte, error) {
		c.observer.CallRefused(reason)
		return nil, nil, err
	}
	if size := options.Bytes(len(r.Body)); size > c.cfg.MaxBody {
		return refuse("too_large", fmt.Errorf("%w: its body has %d bytes, more than calls.max_body, %s", ErrTooLarge, size, c.cfg.MaxBody))
	}
	now := time.Now()
	id := newID()
	call := Call{
		ID: id, Status: Queued, Location: locationOf(id), Stream: stream,
		Method: r.Method, Path: r.Path, AcceptedAt: now,
	}
	if r.Callback != "" {
		if _, err := c.allow.permit(r.Callback); err != nil {
			return refuse("forbidden", err)
		}
		call.Callback = &Callback{URL: r.Callback, Status: CallbackPending}
	}
	// What a record has of these is JSON, which does not hold every byte.
	header := r.Header.Clone()
	header[pathKey], header[hostKey] = []string{r.Path}, []string{r.Host}
	request := message(header, r.Body)
	e := &entry{record: record{Call: call, RequestSize: int64(len(request))}, ended: make(chan struct{})}
	size, answer := e.size(), c.answerRoom()

	c.mu.Lock()
	defer c.mu.Unlock()
	if c.quitting {
		return nil, nil, ErrClosed
	}
	s := c.streamOf(stream)
	defer c.tidy(s)
	switch {
	case s.open >= c.cfg.Queue:
		return refuse("busy", &BusyError{
			fmt.Sprintf("stream %q has %d calls that wait, as many as calls.queue permits: try again later", stream, s.open), busyPause})
	case s.taken+size+answer > int64(c.cfg.StreamStorage):
		return refuse("busy", &BusyError{
			fmt.Sprintf("the calls of stream %q and their results take %s of %s, calls.stream_storage, and have no room for another one: fetch and delete results (DELETE /calls/{id}), or try again later",
				stream, options.Bytes(s.taken), c.cfg.StreamStorage), fullPause})
	case c.taken+size+answer > int64(c.cfg.Storage):
		return refuse("full", fmt.Errorf("%w: the calls of all streams and their results take %s of %s, calls.storage: fetch and delete results (DELETE /calls/{id}), or try again later",
			ErrFull, options.Bytes(c.taken), c.cfg.Storage))
	}
	e.seq, e.stream = c.next, s
	c.next++
	s.open++
	s.entries++
	c.take(s, size)
	return e, request, nil
}

// tidy drops a stream that has no calls. The caller has the lock.
func (c *Calls) tidy(s *stream) {
	if s.entries == 0 && !s.calls.serving && !s.callbacks.serving && c.byStream[s.id] == s {
		delete(c.byStream, s.id)
	}
}

// Forget cancels a call that has not ended, and forgets its result.
//
// Errors: ErrUnknown, and those of the file: then nothing has changed.
func (c *Calls) Forget(id string) error {
	e, err := c.find(id)
	if err != nil {
		return err
	}
	return c.forget([]*entry{e})
}

// forget removes calls. What is being done for them is cut off.
func (c *Calls) forget(entries []*entry) error {
	c.mu.Lock()
	mine := entries[:0:0]
	for _, e := range entries {
		if !e.forgotten {
			e.forgotten = true
			mine = append(mine, e)
		}
	}
	c.mu.Unlock()
	if len(mine) == 0 {
		return ErrUnknown
	}
	err := c.commits.commit(func(tx transaction) error {
		for _, e := range mine {
			for _, bucket := range []string{bucketCalls, bucketRequests, bucketResults} {
				if err := tx.remove(bucket, keyOf(e.seq)); err != nil {
					return err
				}
			}
		}
		return nil
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range mine {
		if err != nil {
			e.forgotten = false
			continue
		}
		c.drop(e)
	}
	return err
}

// drop removes a call that is not in the file any more. The caller has the lock.
func (c *Calls) drop(e *entry) {
	s := e.stream
	delete(c.byID, e.Call.ID)
	s.entries--
	s.calls.remove(e)
	s.callbacks.remove(e)
	c.take(s, -e.size())
	if !e.Call.Status.ended() {
		s.open--
		close(e.ended)
		c.observer.CallEnded("canceled")
	}
	if e.cancel != nil {
		e.cancel()
	}
	c.tidy(s)
}

// Gone fails all calls of a stream that was deleted.
func (c *Calls) Gone(stream string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.byStream[stream]
	if s == nil || c.quitting {
		return
	}
	var left []*entry
	for _, e := range c.byID {
		if e.stream == s && !e.Call.Status.ended() {
			left = append(left, e)
		}
	}
	c.group.Go(func() { c.giveUp(left, gone(stream)) })
}

func gone(stream string) string {
	return fmt.Sprintf("stream %q was deleted before it has answered", stream)
}

// failedAtOnce is how many calls are failed at the same time, to share commits.
const failedAtOnce = 64

// giveUp fails calls that have not ended. Those that are under way are cut off.
func (c *Calls) giveUp(entries []*entry, reason string) {
	var group errgroup.Group
	group.SetLimit(failedAtOnce)
	for _, e := range entries {
		c.mu.Lock()
		waited := e.stream.calls.remove(e)
		if !waited && !e.Call.Status.ended() {
			// Its attempt fails it.
			e.orphaned = true
			if e.cancel != nil {
				e.cancel()
			}
		}
		c.mu.Unlock()
		if waited {
			group.Go(func() error {
				c.fail(e, reason)
				return nil
			})
		}
	}
	_ = group.Wait()
}
