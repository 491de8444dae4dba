package multiplex

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/textproto"
	"net/url"
	"runtime/debug"
	"strings"
	"sync"
)

// served is an exchange that a handler answers. It is its request's body.
type served struct {
	conn    *serverConn
	id      uint32
	ctx     context.Context
	cancel  context.CancelFunc
	request *http.Request

	credit chan struct{}
	pieces chan frame
	intake intake

	// body guards what Read uses: a handler may read in another goroutine and
	// return before that is over.
	body  sync.Mutex
	piece frame
	rest  []byte
	last  bool
	over  bool
	// left is what was announced and has not come; nothing counts below zero.
	left int64
	// fault is why the body did not come to its end.
	fault error
}

// readRequest makes the request that a head is of.
func readRequest(ctx context.Context, head string) (*http.Request, error) {
	text := stringFields{rest: head}
	method, target, host, remote := text.next(), text.next(), text.next(), text.next()
	length := text.number()
	r := http.Request{
		Method: method, Host: host, RemoteAddr: remote, RequestURI: target,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: make(http.Header, strings.Count(text.rest, "-")/2+4), ContentLength: length,
	}
	if length < 0 {
		r.ContentLength = -1
		r.TransferEncoding = []string{"chunked"}
	}
	for text.rest != "" && text.err == nil {
		name := textproto.CanonicalMIMEHeaderKey(text.next())
		value := text.next()
		if had := r.Header[name]; had != nil {
			r.Header[name] = append(had, value)
		} else {
			r.Header[name] = []string{value}
		}
	}
	if text.err != nil {
		return nil, text.err
	}
	var err error
	if r.URL, err = url.ParseRequestURI(target); err != nil {
		return nil, fmt.Errorf("%w: %w", errProtocol, err)
	}
	if r.URL.Host != "" {
		// What a target names goes before what the header does.
		r.Host = r.URL.Host
	}
	// A copy with the context: the one here needs no memory of its own.
	return r.WithContext(ctx), nil
}

// run has the handler answer.
func (c *served) run() {
	w := &answer{call: c, header: http.Header{}, length: -1}
	returned := false
	defer func() {
		fault := recover()
		if fault != nil && fault != http.ErrAbortHandler { //nolint:errorlint // It is no error that is wrapped.
			// As Go's server has it.
			log.Printf("http: panic serving %s: %v\n%s", c.request.RemoteAddr, fault, debug.Stack())
		}
		w.end(returned)
		c.conn.mu.Lock()
		delete(c.conn.calls, c.id)
		c.conn.mu.Unlock()
		c.cancel()
		c.discard()
	}()
	c.conn.handler.ServeHTTP(w, c.request)
	returned = true
}

// discard gives back what was not read of the request.
func (c *served) discard() {
	c.body.Lock()
	defer c.body.Unlock()
	c.over = true
	c.piece.release()
	c.rest = nil
	c.intake.end()
	for {
		select {
		case f := <-c.pieces:
			f.release()
			continue
		default:
		}
		return
	}
}

var errBodyAfterHandler = errors.New("the request's body was read after its handler had returned")

// Read implements io.Reader.
func (c *served) Read(p []byte) (int, error) {
	c.body.Lock()
	defer c.body.Unlock()
	for len(c.rest) == 0 {
		switch {
		case c.over:
			return 0, errBodyAfterHandler
		case c.last:
			return 0, io.EOF
		case c.fault != nil:
			// A second credit for the same piece would break the rules.
			return 0, c.fault
		case len(p) == 0:
			return 0, nil
		}
		c.piece.release()
		if c.fault = c.intake.ask(c.conn.out, c.id, c.conn.ahead, c.left); c.fault != nil {
			return 0, c.fault
		}
		select {
		case c.piece = <-c.pieces:
			c.intake.taken()
			c.rest, c.last = c.piece.payload, c.piece.last
			c.left -= int64(len(c.rest))
		case <-c.ctx.Done():
			c.fault = io.ErrUnexpectedEOF
			return 0, c.fault
		}
	}
	n := copy(p, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

// Close implements io.Closer.
func (c *served) Close() error { return nil }
