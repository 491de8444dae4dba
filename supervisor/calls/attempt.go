package calls

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"
	"go.uber.org/zap"

	"penstock/supervisor/options"
)

// headerBytes bounds the headers of an answer that are kept.
const headerBytes = 64 << 10

// downPause is when a stream is tried again that could not be called although it
// seemed so.
const downPause = 100 * time.Millisecond

// outcome is what an attempt came to.
type outcome struct {
	code   int
	answer []byte // as message makes it
	bytes  int
	took   time.Duration
	// again is when the stream asks to be tried again; 0 when it does not say.
	again time.Duration
	err   error
}

// errTooLarge is the failure of a call whose answer is not kept.
var errTooLarge = errors.New("too large")

// carryOut makes one attempt of a call, lets the next one begin, and keeps what
// came of it.
func (c *Calls) carryOut(e *entry) {
	r, out, made := c.try(e)
	c.done(e, &e.stream.calls, len(out.answer))
	defer c.settled(e)
	c.mu.Lock()
	forgotten, orphaned := e.forgotten, e.orphaned
	c.mu.Unlock()
	switch {
	case forgotten:
	case orphaned:
		c.fail(e, gone(e.stream.id))
	case made:
		c.conclude(e, r, out)
	}
}

// try makes one attempt of a call, unless nobody wants it any more.
func (c *Calls) try(e *entry) (r record, out outcome, made bool) {
	ctx, cancel := context.WithTimeout(c.work, c.cfg.Timeout)
	defer cancel()
	c.mu.Lock()
	if e.forgotten || e.orphaned {
		c.mu.Unlock()
		return r, out, false
	}
	e.cancel = cancel
	e.begun = true
	e.Call.Status, e.Call.NextAttemptAt = Running, nil
	e.Call.Attempts++
	r = e.record
	c.mu.Unlock()

	out = c.attempt(ctx, e.seq, r)
	c.mu.Lock()
	e.cancel = nil
	c.mu.Unlock()
	return r, out, true
}

// conclude keeps what came of an attempt.
func (c *Calls) conclude(e *entry, r record, out outcome) {
	switch refused := out.code == http.StatusServiceUnavailable || out.code == http.StatusTooManyRequests; {
	case errors.Is(out.err, ErrNoStream):
		c.fail(e, gone(r.Call.Stream))
	case errors.Is(out.err, ErrDown):
		// Nothing was sent.
		c.requeue(e, func(e *entry) { e.Call.Attempts--; e.due = time.Now().Add(downPause) })
	case c.life.Err() != nil && (out.err != nil || refused):
		// It may be the end of the server that has cut it off.
		c.requeue(e, func(*entry) {})
	case errors.Is(out.err, errTooLarge):
		c.fail(e, fmt.Sprintf("the stream's answer is larger than %s, the server's calls.max_result, or its headers than %s", c.cfg.MaxResult, options.Bytes(headerBytes)))
	case out.err != nil || refused:
		c.again(e, r, out)
	default:
		c.succeed(e, r, out)
	}
}

// attempt asks the stream.
func (c *Calls) attempt(ctx context.Context, seq uint64, r record) outcome {
	var value []byte
	err := c.file.Read(func(tx *bolt.Tx) (err error) {
		value, err = transaction{tx}.get(bucketRequests, keyOf(seq))
		return err
	})
	if err != nil {
		return outcome{err: err}
	}
	header, body, err := apart(bucketRequests, keyOf(seq), value)
	if err != nil {
		return outcome{err: err}
	}
	path, host := strings.Join(header[pathKey], ""), strings.Join(header[hostKey], "")
	delete(header, pathKey)
	delete(header, hostKey)
	target, err := url.ParseRequestURI(path)
	if err != nil {
		return outcome{err: err}
	}
	target.Scheme, target.Host = "http", "runner"
	header.Set(IDHeader, r.Call.ID)
	header.Set(AttemptHeader, strconv.Itoa(r.Call.Attempts))
	if _, ok := header["User-Agent"]; !ok {
		// Empty keeps the transport from adding its own.
		header.Set("User-Agent", "")
	}
	request := &http.Request{
		Method: r.Call.Method, URL: target, Host: host, Header: header,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Body: http.NoBody, ContentLength: int64(len(body)),
	}
	if len(body) > 0 {
		request.Body = io.NopCloser(bytes.NewReader(body))
	}
	began := time.Now()
	resp, err := c.streams.Call(ctx, r.Call.Stream, request.WithContext(ctx))
	if err != nil {
		return outcome{err: c.late(ctx, err)}
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, int64(c.cfg.MaxResult)+1))
	out := outcome{code: resp.StatusCode, bytes: len(text), took: time.Since(began)}
	switch {
	case len(text) > int(c.cfg.MaxResult):
		out.err = errTooLarge
	case err != nil:
		out.err = c.late(ctx, fmt.Errorf("its answer broke off: %w", err))
	default:
		dropOwn(resp.Header)
		if seconds, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && seconds > 0 {
			out.again = time.Duration(seconds) * time.Second
		}
		out.answer = message(resp.Header, text)
		if len(out.answer)-len(text) > headerBytes {
			out.err = errTooLarge
		}
	}
	return out
}

// late says that it was the server's own timeout that ended an attempt.
func (c *Calls) late(ctx context.Context, err error) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("it did not answer within %s, the server's calls.timeout", c.cfg.Timeout)
	}
	return err
}

// dropOwn removes the headers of an answer that are about one connection, or
// not a stream's to set.
func dropOwn(h http.Header) {
	for _, name := range []string{
		"Connection", "Keep-Alive", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade", "Content-Length",
		IDHeader, StatusHeader, DurationHeader, AttemptHeader,
	} {
		h.Del(name)
	}
}

// requeue has a call wait again, with nothing changed in the file.
func (c *Calls) requeue(e *entry, change func(*entry)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e.forgotten {
		return
	}
	e.Call.Status = Queued
	change(e)
	e.stream.calls.push(e)
}

// again has a call be tried again after a failure that counts, if it may.
func (c *Calls) again(e *entry, r record, out outcome) {
	r.Failures++
	reason := fmt.Sprintf("the stream answered %d", out.code)
	if out.err != nil {
		reason = fmt.Sprintf("stream %q did not answer: %s", r.Call.Stream, out.err)
	}
	if r.Failures >= c.cfg.Attempts {
		if out.err == nil {
			c.succeed(e, r, out)
			return
		}
		c.fail(e, fmt.Sprintf("%s; that was the last of %d attempts, calls.attempts", reason, c.cfg.Attempts))
		return
	}
	due := time.Now().Add(max(c.cfg.Backoff.pause(r.Failures), min(out.again, c.cfg.Backoff.Max)))
	r.Call.Status, r.Call.Reason, r.Call.NextAttemptAt = Queued, reason, &due
	if c.settle(e, r, nil) {
		c.requeue(e, func(e *entry) { e.due = due })
	}
}

// succeed keeps what the stream has answered.
func (c *Calls) succeed(e *entry, r record, out outcome) {
	r.Call.Status, r.Call.Reason = Done, ""
	r.Call.Result = &Result{
		StatusCode: out.code, Bytes: int64(out.bytes), DurationSeconds: out.took.Seconds(),
		Location: r.Call.Location + "/result",
	}
	c.end(e, r, out.answer)
}

// fail ends a call without an answer.
func (c *Calls) fail(e *entry, reason string) {
	c.mu.Lock()
	r := e.record
	c.mu.Unlock()
	r.Call.Status, r.Call.Reason = Failed, reason
	c.end(e, r, nil)
}

// end keeps what has become of a call.
func (c *Calls) end(e *entry, r record, answer []byte) {
	now := time.Now()
	r.Call.FinishedAt, r.Call.NextAttemptAt = &now, nil
	r.RequestSize, r.AnswerSize = 0, int64(len(answer))
	if r.Call.Callback == nil {
		expires := now.Add(c.cfg.Keep)
		r.Call.ExpiresAt = &expires
	}
	if !c.settle(e, r, answer) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if e.forgotten {
		return
	}
	if e.awaitsCallback() {
		e.due = time.Time{}
		e.stream.callbacks.push(e)
		c.wake(e.stream)
	}
}

// settlePause is how long to wait for room on the disk.
const settlePause = time.Second

// settle puts a call into the file as it is to be, and then into memory. Whoever
// calls it is the only one who works on the call. Where the disk is full it waits;
// false means that nothing has changed, since the call was forgotten or the file
// cannot be written: then the next supervisor has it as it was.
func (c *Calls) settle(e *entry, r record, answer []byte) bool {
	key := keyOf(e.seq)
	for told := false; ; told = true {
		skip := false
		err := c.commits.commit(func(tx transaction) error {
			c.mu.Lock()
			skip = e.forgotten
			c.mu.Unlock()
			if skip {
				return nil
			}
			err := tx.putJSON(bucketCalls, key, r)
			if err == nil && r.Call.Status.ended() {
				err = tx.remove(bucketRequests, key)
			}
			switch {
			case err != nil:
			case answer != nil:
				err = tx.put(bucketResults, key, answer)
			case r.AnswerSize == 0:
				err = tx.remove(bucketResults, key)
			}
			return err
		})
		if err == nil {
			if skip {
				return false
			}
			break
		}
		if !told {
			c.log.Error("what became of a call cannot be kept", zap.String("call", r.Call.ID), zap.String("stream", r.Call.Stream), zap.Error(err))
		}
		if !errors.Is(err, ErrFull) {
			return false
		}
		select {
		case <-time.After(settlePause):
		case <-c.life.Done():
			return false
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if e.forgotten {
		return false
	}
	// The answer takes the place of what was reserved for it.
	c.take(e.stream, r.size()-e.size()-e.reserved)
	e.reserved = 0
	ends := r.Call.Status.ended() && !e.Call.Status.ended()
	e.record, e.begun = r, false
	if ends {
		e.stream.open--
		close(e.ended)
		c.observer.CallEnded(string(r.Call.Status))
	}
	return true
}
