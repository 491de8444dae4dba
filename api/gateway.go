package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"
	"golang.org/x/net/http/httpguts"

	"penstock/supervisor"
)

// hopByHop are the headers that are about one connection only.
var hopByHop = []string{
	"Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Proxy-Connection",
	"Te", "Trailer", "Transfer-Encoding", "Upgrade",
}

// readyTime bounds the answer to a stream's own /ready, which costs a runner
// nothing: one that takes longer hangs.
const readyTime = 2 * time.Second

// pollGrace is how long a GET that waits for its answer goes on once the
// server shuts down. What does not wait for a message is answered sooner.
const pollGrace = 250 * time.Millisecond

// gateway forwards a request to the stream that serves its path.
func (s *Server) gateway(c *fiber.Ctx) error {
	body := bodyOf(c)
	ctx, cancel := context.WithCancel(context.Background())
	r, err := outgoing(ctx, c, body)
	if err != nil {
		cancel()
		return fiber.NewError(fiber.StatusBadRequest, "Error: "+err.Error())
	}
	if s.tokens.all != "" {
		// It is the server's, and headers become metadata that a stream can read.
		r.Header.Del(fiber.HeaderAuthorization)
	}
	id, err := s.streams.Owner(r)
	if err != nil {
		cancel()
		return errNoRoute
	}
	if taken, err := s.asynchronous(c, id); taken {
		cancel()
		return err
	}
	exchange := &exchange{id: id, body: body, cancel: cancel}
	if c.Method() == fiber.MethodGet {
		// It may wait for a message that does not come.
		exchange.stay = context.AfterFunc(s.life, func() { time.AfterFunc(pollGrace, cancel) })
	}
	function, err := s.function(ctx, c, exchange)
	if err != nil {
		exchange.end()
		return s.noFunction(c, id, err)
	}

	// What is asked for by GET may be a stream that has nothing to send yet.
	exchange.client = watchClient(c.Context().Conn(), body, c.Method() == fiber.MethodGet, cancel)
	if c.Path() == "/"+id+"/ready" {
		overdue := time.AfterFunc(readyTime, cancel)
		defer overdue.Stop()
	}
	resp, err := function.RoundTrip(r)
	if err != nil {
		exchange.end()
		err = s.unanswered(exchange, err)
		if !body.consumed() {
			body.reclaim()
		}
		return err
	}
	if resp.StatusCode == http.StatusSwitchingProtocols {
		exchange.client.forget()
		exchange.client = nil
		return s.upgrade(c, resp, exchange)
	}
	if !body.consumed() {
		body.reclaim()
	}
	if resp.ContentLength >= 0 && exchange.stay != nil {
		exchange.stay()
	}
	answer(c, resp, func() {
		_ = resp.Body.Close()
		exchange.end()
	})
	return nil
}

// exchange is one request to a stream and its answer.
type exchange struct {
	id   string
	body *requestBody
	// cancel breaks it off.
	cancel context.CancelFunc
	// stay keeps it from being broken off when the server shuts down; nil for
	// one that is not.
	stay func() bool
	// client is watched once the stream's function is there.
	client *clientWatch
	// release gives the function back.
	release func()
}

// end gives back what the exchange held. It is to be called once.
func (e *exchange) end() {
	if e.stay != nil {
		e.stay()
	}
	if e.client != nil {
		e.client.forget()
	}
	e.cancel()
	if e.release != nil {
		e.release()
	}
}

// function waits for the way to a stream's endpoints, which is not there while
// the stream is being replaced, for as long as the client does.
func (s *Server) function(ctx context.Context, c *fiber.Ctx, e *exchange) (http.RoundTripper, error) {
	client := watchClient(c.Context().Conn(), nil, false, e.cancel)
	function, release, err := s.streams.Function(ctx, e.id, strings.Clone(c.Method()))
	client.forget()
	if err == nil {
		e.release = release
	}
	switch {
	case client.left.Load():
		return nil, errClientGone
	case ctx.Err() != nil:
		return nil, supervisor.ErrClosed
	}
	return function, err
}

// statusClientGone is what nobody reads; logs know it by this number.
const statusClientGone = 499

var errClientGone = fiber.NewError(statusClientGone, "Error: the client has gone")

// unanswered tells whose fault it was that a request got no answer.
func (s *Server) unanswered(e *exchange, err error) error {
	if fault := e.body.fault(); fault != nil {
		return unreadable(fault)
	}
	if e.client.left.Load() {
		return errClientGone
	}
	if s.life.Err() != nil {
		return supervisor.ErrClosed
	}
	return fmt.Errorf("%w: the runner of stream %q did not answer: %w", supervisor.ErrUnavailable, e.id, err)
}

// noFunction answers for a stream without a runner. Its /ready says so in
// the form that it always has.
func (s *Server) noFunction(c *fiber.Ctx, id string, err error) error {
	if errors.Is(err, supervisor.ErrUnavailable) && c.Path() == "/"+id+"/ready" {
		return c.Status(fiber.StatusServiceUnavailable).JSON(fiber.Map{
			"error": err.Error(), "statuses": []struct{}{},
		})
	}
	return err
}

// outgoing makes the request to the runner out of the one that came in.
func outgoing(ctx context.Context, c *fiber.Ctx, body *requestBody) (*http.Request, error) {
	in := &c.Request().Header
	target, err := url.ParseRequestURI(string(in.RequestURI()))
	if err != nil {
		return nil, fmt.Errorf("the request's path cannot be read: %w", err)
	}
	target.Scheme, target.Host = "http", "runner"
	r := &http.Request{
		Method: strings.Clone(c.Method()), URL: target, Host: string(in.Host()),
		Header: http.Header{}, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Body: http.NoBody,
	}
	if !body.consumed() {
		r.Body = body
		r.ContentLength = int64(max(in.ContentLength(), -1))
	}
	// As they were sent: the parser makes its own of some, such as cookies.
	for name, value := range rawHeaders(in) {
		r.Header.Add(string(name), string(value))
	}
	upgrade := ""
	if httpguts.HeaderValuesContainsToken(r.Header["Connection"], "upgrade") {
		upgrade = r.Header.Get("Upgrade")
	}
	dropHopByHop(r.Header)
	for _, name := range append([]string{"Host", "Content-Length", "Expect"}, callHeaders...) {
		r.Header.Del(name)
	}
	if upgrade != "" {
		r.Header.Set("Connection", "Upgrade")
		r.Header.Set("Upgrade", upgrade)
	}
	if _, ok := r.Header["User-Agent"]; !ok {
		// Empty keeps the transport from adding its own.
		r.Header.Set("User-Agent", "")
	}
	r.Header.Set(supervisor.RemoteAddrHeader, c.Context().RemoteAddr().String())
	return r.WithContext(ctx), nil
}

func dropHopByHop(h http.Header) {
	for _, line := range h["Connection"] {
		for name := range strings.SplitSeq(line, ",") {
			h.Del(strings.TrimSpace(name))
		}
	}
	for _, name := range hopByHop {
		h.Del(name)
	}
}

// answer passes the runner's answer on. done is called when all of it was
// sent, or could not be.
func answer(c *fiber.Ctx, resp *http.Response, done func()) {
	out := c.Response()
	dropHopByHop(resp.Header)
	out.SetStatusCode(resp.StatusCode)
	out.Header.SetNoDefaultContentType(true)
	for name, values := range resp.Header {
		// The server sets these two by itself.
		if name == "Content-Length" || name == "Date" {
			continue
		}
		for _, value := range values {
			out.Header.Add(name, value)
		}
	}
	size := int(resp.ContentLength)
	if c.Method() == fiber.MethodHead {
		out.SkipBody = true
		if size >= 0 {
			out.Header.SetContentLength(size)
		}
		done()
		return
	}
	// A stream's headers go out before its first message is there.
	out.ImmediateHeaderFlush = size < 0
	out.SetBodyStream(&answerBody{resp.Body, done}, size)
}

// answerBody is closed by the server once it has sent what there was.
type answerBody struct {
	io.Reader
	done func()
}

func (b *answerBody) Close() error {
	b.done()
	return nil
}

// upgrade joins the client's connection with the runner's for a protocol of
// their own, which is that of websockets.
func (s *Server) upgrade(c *fiber.Ctx, resp *http.Response, e *exchange) error {
	runner, ok := resp.Body.(io.ReadWriteCloser)
	if !ok {
		e.end()
		return errors.New("the runner's connection cannot be upgraded")
	}
	var head strings.Builder
	fmt.Fprintf(&head, "HTTP/1.1 %s\r\n", resp.Status)
	if err := resp.Header.Write(&head); err != nil {
		e.end()
		return fmt.Errorf("writing the answer's headers: %w", err)
	}
	head.WriteString("\r\n")
	c.Context().HijackSetNoResponse(true)
	c.Context().Hijack(func(client net.Conn) {
		defer e.end()
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
