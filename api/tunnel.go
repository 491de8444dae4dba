package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gofiber/fiber/v2"
	"golang.org/x/net/http/httpguts"

	"penstock/supervisor"
)

// upgradeOf is the protocol that a request asks for in the place of HTTP,
// which is that of websockets; empty for none.
func upgradeOf(c *fiber.Ctx) string {
	header := &c.Request().Header
	upgrade := header.Peek(fiber.HeaderUpgrade)
	if len(upgrade) == 0 || !httpguts.HeaderValuesContainsToken([]string{string(header.Peek(fiber.HeaderConnection))}, "upgrade") {
		return ""
	}
	return string(upgrade)
}

// tunnel forwards a request that may leave HTTP, on a connection of its own.
func (s *Server) tunnel(c *fiber.Ctx, id, upgrade string) error {
	e := &exchange{server: s, id: id, body: bodyOf(c), arrived: time.Now()}
	if !e.body.consumed() {
		return fiber.NewError(fiber.StatusBadRequest, "Error: a request that asks for another protocol must not have a body")
	}
	if err := e.find(c); err != nil {
		e.end()
		return s.failed(c, e, err)
	}
	e.watch(c)
	ctx, cancel := context.WithCancel(context.Background())
	stop := e.stop
	go func() {
		select {
		case <-stop:
			cancel()
		case <-ctx.Done():
		}
	}()
	r, err := s.asRequest(ctx, c)
	if err != nil {
		cancel()
		e.end()
		return err
	}
	r.Header.Set("Connection", "Upgrade")
	r.Header.Set("Upgrade", upgrade)
	// Whichever of the answer and the stream's timeout comes first sets it.
	var answered atomic.Bool
	if limit := e.function.HTTP.Timeout; limit > 0 {
		e.deadline = e.arrived.Add(limit)
		defer time.AfterFunc(time.Until(e.deadline), func() {
			if !answered.Swap(true) {
				cancel()
			}
		}).Stop()
	}
	resp, err := e.function.RoundTrip(r)
	if answered.Swap(true) {
		err = errors.Join(err, context.DeadlineExceeded)
	}
	if err != nil {
		left, late := e.client.left.Load(), errors.Is(err, context.DeadlineExceeded)
		if resp != nil {
			_ = resp.Body.Close()
		}
		if !late {
			err = fmt.Errorf("%w: while it was answering, the runner of stream %q %s: %w", supervisor.ErrBroken, id, e.function.WhyLost(), err)
		}
		cancel()
		e.end()
		switch {
		case left:
			err = errClientGone
		case late:
			err = e.timeout()
		}
		return s.failed(c, e, err)
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		plainAnswer(c, resp, func() {
			_ = resp.Body.Close()
			cancel()
			e.end()
		})
		return nil
	}
	e.client.forget()
	e.client = nil
	return s.join(c, resp, func() {
		cancel()
		e.end()
	})
}

// asRequest is a request without a body, as Go's own packages have it.
func (s *Server) asRequest(ctx context.Context, c *fiber.Ctx) (*http.Request, error) {
	in := &c.Request().Header
	target, err := parseTarget(string(in.RequestURI()))
	if err != nil {
		return nil, fiber.NewError(fiber.StatusBadRequest, "Error: "+err.Error())
	}
	target.Scheme, target.Host = "http", "runner"
	r := &http.Request{
		Method: strings.Clone(c.Method()), URL: target, Host: hostOf(c),
		Header: http.Header{}, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Body: http.NoBody,
	}
	connection := string(in.Peek(fiber.HeaderConnection))
	for name, value := range s.endToEnd(c) {
		if !tokenIn(connection, name) && !isHeader(name, fiber.HeaderContentLength) {
			r.Header.Add(string(name), string(value))
		}
	}
	s.forwardedFor(c).set(r.Header)
	if _, ok := r.Header["User-Agent"]; !ok {
		// Empty keeps the transport from adding its own.
		r.Header.Set("User-Agent", "")
	}
	r.Header.Set(supervisor.RemoteAddrHeader, peerOf(c).text)
	return r.WithContext(ctx), nil
}

// plainAnswer passes on what a runner has answered instead of leaving HTTP.
// done is called when all of it was sent, or could not be.
func plainAnswer(c *fiber.Ctx, resp *http.Response, done func()) {
	out := c.Response()
	out.SetStatusCode(resp.StatusCode)
	out.Header.SetNoDefaultContentType(true)
	connection := resp.Header.Get("Connection")
	for name, values := range resp.Header {
		if kept := []byte(name); hopByHop(kept) || tokenIn(connection, kept) || name == "Date" || name == "Content-Length" {
			continue
		}
		for _, value := range values {
			out.Header.Add(name, value)
		}
	}
	out.ImmediateHeaderFlush = resp.ContentLength < 0
	out.SetBodyStream(&tunnelBody{resp.Body, done}, int(resp.ContentLength))
}

// tunnelBody is closed by the server once it has sent what there was.
type tunnelBody struct {
	io.Reader
	done func()
}

func (b *tunnelBody) Close() error {
	b.done()
	return nil
}

// join connects the client with the runner, until either has enough. done is
// called at the end.
func (s *Server) join(c *fiber.Ctx, resp *http.Response, done func()) error {
	runner, ok := resp.Body.(io.ReadWriteCloser)
	if !ok {
		done()
		return errors.New("the runner's connection cannot be upgraded")
	}
	var head strings.Builder
	fmt.Fprintf(&head, "HTTP/1.1 %s\r\n", resp.Status)
	if err := resp.Header.Write(&head); err != nil {
		_ = runner.Close()
		done()
		return fmt.Errorf("writing the answer's headers: %w", err)
	}
	head.WriteString("\r\n")
	done = sync.OnceFunc(done)
	atClose(c.Context().Conn(), func() {
		_ = runner.Close()
		done()
	})
	c.Context().HijackSetNoResponse(true)
	c.Context().Hijack(func(client net.Conn) {
		defer done()
		defer runner.Close()
		defer context.AfterFunc(s.life, func() { _ = runner.Close() })()
		if _, err := io.WriteString(client, head.String()); err != nil {
			return
		}
		toRunner := make(chan struct{})
		go func() {
			defer close(toRunner)
			_, _ = io.Copy(runner, client)
			_ = runner.Close()
		}()
		_, _ = io.Copy(client, runner)
		// The runner has ended: so does the wait for more of the client's.
		_ = client.SetReadDeadline(time.Unix(1, 0))
		<-toRunner
	})
	return nil
}
