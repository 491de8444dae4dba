package calls

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
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
)

const (
	// TimestampHeader is when a signed callback was sent, in seconds since 1970.
	TimestampHeader = "X-Penstock-Timestamp"
	// SignatureHeader is what it is signed with.
	SignatureHeader = "X-Penstock-Signature"
	// StreamHeader names the stream that has answered.
	StreamHeader = "X-Penstock-Stream"

	// drainBytes is how much of the answer to a callback is read.
	drainBytes = 64 << 10
)

// deliver makes one attempt of a callback.
func (c *Calls) deliver(e *entry) {
	ctx, cancel := context.WithTimeout(c.work, c.cfg.Callbacks.Timeout)
	defer cancel()
	c.mu.Lock()
	if e.forgotten {
		c.mu.Unlock()
		return
	}
	e.cancel = cancel
	r := e.record
	c.mu.Unlock()
	err := c.post(ctx, e.seq, r.Call)
	c.mu.Lock()
	e.cancel = nil
	c.mu.Unlock()
	if err != nil && c.life.Err() != nil {
		// It may be the end of the server that has cut it off: the next one tries.
		return
	}

	now := time.Now()
	back := *r.Call.Callback
	back.Attempts++
	back.NextAttemptAt, back.Reason = nil, ""
	expires := now.Add(c.cfg.Keep)
	var refused *refusedError
	switch {
	case err == nil:
		back.Status = CallbackDelivered
		r.AnswerSize = 0
		if r.Call.Result != nil {
			result := *r.Call.Result
			result.Location = ""
			r.Call.Result = &result
		}
	case errors.As(err, &refused), back.Attempts >= c.cfg.Callbacks.Attempts, now.Sub(*r.Call.FinishedAt) >= c.cfg.Callbacks.MaxAge:
		back.Status, back.Reason = CallbackFailed, err.Error()
		c.log.Warn("the result of a call cannot be delivered", zap.String("call", r.Call.ID), zap.String("stream", r.Call.Stream), zap.Error(err))
	default:
		due := now.Add(c.cfg.Callbacks.Backoff.pause(back.Attempts))
		back.Reason, back.NextAttemptAt = err.Error(), &due
	}
	r.Call.Callback = &back
	if back.Status != CallbackPending {
		r.Call.ExpiresAt = &expires
	}
	if !c.settle(e, r, nil) {
		return
	}
	if back.Status != CallbackPending {
		c.observer.CallbackTried(string(back.Status))
		return
	}
	c.observer.CallbackTried("retried")
	c.mu.Lock()
	defer c.mu.Unlock()
	if !e.forgotten {
		e.due = *back.NextAttemptAt
		e.stream.callbacks.push(e)
	}
}

// post sends what has become of a call.
func (c *Calls) post(ctx context.Context, seq uint64, call Call) error {
	// What the operator allows may have changed since.
	permitted, err := c.allow.permit(call.Callback.URL)
	if err != nil {
		return &refusedError{err}
	}
	header, body, err := c.said(seq, call)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(context.WithValue(ctx, permissionKey{}, permitted),
		http.MethodPost, call.Callback.URL, bytes.NewReader(body))
	if err != nil {
		return &refusedError{err}
	}
	request.Header = header
	if c.secret != nil {
		sign(header, c.secret, call.ID, time.Now(), body)
	}
	resp, err := c.client.RoundTrip(request)
	if err != nil {
		return shorter(err)
	}
	defer resp.Body.Close()
	_, _ = io.CopyN(io.Discard, resp.Body, drainBytes)
	switch resp.StatusCode / 100 {
	case 2:
		return nil
	case 3:
		return fmt.Errorf("it was answered %d: redirects are not followed", resp.StatusCode)
	}
	return fmt.Errorf("it was answered %d", resp.StatusCode)
}

// shorter leaves out what the caller knows.
func shorter(err error) error {
	var of *url.Error
	if errors.As(err, &of) {
		return of.Err
	}
	return err
}

// said is the callback of a call: what the stream answered, or why it did not.
func (c *Calls) said(seq uint64, call Call) (http.Header, []byte, error) {
	header := http.Header{}
	var body []byte
	// Receivers know these by the names that OpenFaaS has given them.
	code, seconds := http.StatusBadGateway, 0.0
	if call.Status == Done {
		var value []byte
		err := c.file.Read(func(tx *bolt.Tx) (err error) {
			value, err = transaction{tx}.get(bucketResults, keyOf(seq))
			return err
		})
		if err != nil {
			return nil, nil, err
		}
		kept, text, err := apart(bucketResults, keyOf(seq), value)
		if err != nil {
			return nil, nil, err
		}
		for name, values := range kept {
			if strings.HasPrefix(name, "Content-") {
				header[name] = values
			}
		}
		body, code, seconds = text, call.Result.StatusCode, call.Result.DurationSeconds
	} else {
		text, err := json.Marshal(call)
		if err != nil {
			return nil, nil, err
		}
		header.Set("Content-Type", "application/json")
		body = text
	}
	duration := strconv.FormatFloat(seconds, 'f', 6, 64)
	for name, value := range map[string]string{
		IDHeader: call.ID, "X-Call-Id": call.ID,
		StreamHeader: call.Stream, "X-Function-Name": call.Stream,
		StatusHeader: string(call.Status), "X-Function-Status": strconv.Itoa(code),
		DurationHeader: duration, "X-Duration-Seconds": duration,
		"User-Agent": "penstock",
	} {
		header.Set(name, value)
	}
	return header, body, nil
}

// sign has the receiver know that it is us, which call it is about, and when
// that was said.
func sign(header http.Header, secret []byte, id string, at time.Time, body []byte) {
	stamp := strconv.FormatInt(at.Unix(), 10)
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(id + "." + stamp + "."))
	mac.Write(body)
	header.Set(TimestampHeader, stamp)
	header.Set(SignatureHeader, "sha256="+hex.EncodeToString(mac.Sum(nil)))
}
