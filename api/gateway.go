package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"

	"penstock/rpc/multiplex"
	"penstock/supervisor"
)

const (
	// readyTime bounds the answer to a stream's own /ready, which costs a runner
	// nothing: one that takes longer hangs.
	readyTime = 2 * time.Second
	// pollGrace is how long a GET that waits for its answer goes on once the
	// server shuts down. What does not wait for a message is answered sooner.
	pollGrace = 250 * time.Millisecond
	// sendAttempts is how often a request is sent that no runner has received,
	// or that may be sent twice.
	sendAttempts = 3
	// sendTime is how long a request is tried for.
	sendTime = 5 * time.Second
)

// gateway forwards a request to the stream that serves its path.
func (s *Server) gateway(c *fiber.Ctx) error {
	path, err := pathOf(c)
	if err != nil {
		return fiber.NewError(fiber.StatusBadRequest, "Error: "+err.Error())
	}
	id, err := s.streams.Owner(path)
	if err != nil {
		return errNoRoute
	}
	if taken, err := s.asynchronous(c, id); taken {
		return err
	}
	if name := upgradeOf(c); name != "" {
		return s.tunnel(c, id, name)
	}
	s.processors.Call()
	return s.forward(c, id, path)
}

// exchange is one request to a stream and its answer.
type exchange struct {
	server *Server
	id     string
	body   *requestBody
	// probe asks whether the stream is ready, and is no call of it.
	probe bool
	// deadline is when the answer has to begin; zero for one that may take its
	// time. arrived is when the request did.
	arrived, deadline time.Time

	function supervisor.Function
	call     *multiplex.Call
	// upload sends what the first piece has not of the body.
	upload *upload
	// client is watched once the exchange takes its time.
	client *clientWatch
	// stop is closed when nobody waits for the answer any more, which is when
	// the client has gone or the server shuts down.
	stop chan struct{}
	stay func() bool
}

// forward sends a request to a stream and passes its answer on.
func (s *Server) forward(c *fiber.Ctx, id, path string) error {
	e := &exchange{server: s, id: id, body: bodyOf(c), arrived: time.Now()}
	if path == "/"+id+"/ready" {
		if s.streams.Replicated(id) {
			return s.readyOfSeveral(c, id)
		}
		e.probe, e.deadline = true, e.arrived.Add(readyTime)
	}
	memory := requestMemory.Get().(*[]byte)
	request, last, err := s.outgoing(c, e.body, *memory)
	defer func() {
		*memory = request.Memory()
		if cap(*memory) <= keptRequest {
			requestMemory.Put(memory)
		}
	}()
	if err != nil {
		return err
	}
	lost := false
	for attempt := 1; ; attempt++ {
		err := e.attempt(c, &request, last)
		if err == nil {
			return nil
		}
		again := false
		switch {
		case errors.Is(err, errNotSent):
			again = true
			if attempt == sendAttempts-1 {
				// It is gone, which is known in a moment.
				e.function.WhyLost()
			}
		case isLost(err):
			again, lost = !lost && last && repeatable(c), true
		}
		e.end()
		if !again || attempt == sendAttempts || s.life.Err() != nil || e.probe || time.Since(e.arrived) > sendTime {
			return s.failed(c, e, err)
		}
	}
}

// errNotSent says that no runner has received a request.
var errNotSent = errors.New("it could not be sent")

// lostError says that a runner ended while it was answering.
type lostError struct{ cause error }

func (e *lostError) Error() string { return e.cause.Error() }
func (e *lostError) Unwrap() error { return e.cause }

func isLost(err error) bool {
	var lost *lostError
	return errors.As(err, &lost)
}

// repeatable says that a request may be carried out twice. HTTP has PUT and
// DELETE among those, but what a stream makes of either is a message, as of a
// POST: only who calls it knows whether a second one does harm.
func repeatable(c *fiber.Ctx) bool {
	switch c.Method() {
	case fiber.MethodGet, fiber.MethodHead, fiber.MethodOptions, fiber.MethodTrace:
		return true
	}
	return len(c.Request().Header.Peek("Idempotency-Key")) > 0
}

// attempt sends the request to the stream's present runner and answers. After
// an error nothing was answered.
func (e *exchange) attempt(c *fiber.Ctx, request *multiplex.Outgoing, last bool) error {
	if err := e.find(c); err != nil {
		return err
	}
	if limit := e.function.HTTP.Timeout; limit > 0 && (e.deadline.IsZero() || e.arrived.Add(limit).Before(e.deadline)) {
		e.deadline = e.arrived.Add(limit)
	}
	if err := e.start(c, request, last); err != nil {
		return err
	}
	if !last {
		e.upload = begin(e.call, e.body)
	}
	if err := e.await(c); err != nil {
		return err
	}
	return e.answer(c)
}

// start sends the request. An error means that no runner has received it.
func (e *exchange) start(c *fiber.Ctx, request *multiplex.Outgoing, last bool) error {
	p := &clientContext{conn: c.Context().Conn(), deadline: e.deadline}
	call, err := e.function.Calls.Start(p, request, last)
	gone := p.over()
	switch {
	case err == nil:
		e.call = call
		return nil
	case gone:
		return errClientGone
	case e.late():
		return e.timeout()
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%w: the runner of stream %q takes no calls: it hangs", supervisor.ErrUnavailable, e.id)
	}
	return fmt.Errorf("%w: %w: the runner of stream %q cannot be reached: %w", supervisor.ErrUnavailable, errNotSent, e.id, err)
}

// late says that the answer should have begun by now.
func (e *exchange) late() bool { return !e.deadline.IsZero() && !time.Now().Before(e.deadline) }

func (e *exchange) timeout() error {
	return fmt.Errorf("%w: stream %q has not answered within %s", supervisor.ErrTimeout, e.id, e.deadline.Sub(e.arrived).Round(time.Millisecond))
}

// find waits for the stream to take the call, for as long as the client does.
func (e *exchange) find(c *fiber.Ctx) error {
	p := &clientContext{conn: c.Context().Conn()}
	function, err := e.server.streams.Function(p, e.id, supervisor.Call{Method: c.Method(), Arrived: e.arrived, Probe: e.probe})
	if err == nil {
		e.function = function
	}
	if p.over() {
		return errClientGone
	}
	return err
}

// await waits until the answer begins. Most do before anything has to be
// watched.
func (e *exchange) await(c *fiber.Ctx) error {
	after := watchAfter
	if supervisor.Reads(c.Method()) {
		// It may be a stream that has nothing to send yet.
		after = watchReadsAfter
	}
	if !e.deadline.IsZero() {
		after = min(after, time.Until(e.deadline))
	}
	timer := takeTimer(after)
	defer timer.giveBack()
	watching := false
	for {
		switch e.call.Await(e.stop, timer.C) {
		case multiplex.Answered:
			return nil
		case multiplex.Lost:
			return &lostError{fmt.Errorf("%w: while it was answering, the runner of stream %q %s", supervisor.ErrBroken, e.id, e.function.WhyLost())}
		case multiplex.Stopped:
			if e.client.left.Load() {
				return errClientGone
			}
			return supervisor.ErrClosed
		case multiplex.Ticked:
		}
		if e.late() {
			return e.timeout()
		}
		if !watching {
			watching = true
			e.watch(c)
		}
		if !e.deadline.IsZero() {
			timer.Reset(time.Until(e.deadline))
		}
	}
}

// watch looks after an exchange that takes its time.
func (e *exchange) watch(c *fiber.Ctx) {
	stop := make(chan struct{})
	once := onceClose(stop)
	e.stop = stop
	e.client = watchClient(c.Context().Conn(), e.body, true, once)
	if supervisor.Reads(c.Method()) {
		e.stay = context.AfterFunc(e.server.life, func() { time.AfterFunc(pollGrace, once) })
	}
}

// end gives back what an attempt held.
func (e *exchange) end() {
	if e.stay != nil {
		e.stay()
	}
	if e.client != nil {
		e.client.forget()
	}
	if e.upload != nil {
		e.upload.end()
	}
	if e.call != nil {
		e.call.End()
	}
	if e.function.Calls != nil {
		e.function.Release()
	}
	e.stay, e.client, e.upload, e.call, e.stop = nil, nil, nil, nil, nil
	e.function = supervisor.Function{}
}

// statusClientGone is what nobody reads; logs know it by this number.
const statusClientGone = 499

var errClientGone = fiber.NewError(statusClientGone, "Error: the client has gone")

// failed tells whose fault it was that a request got no answer.
func (s *Server) failed(c *fiber.Ctx, e *exchange, err error) error {
	if fault := e.body.fault(); fault != nil {
		return unreadable(fault)
	}
	switch {
	case errors.Is(err, errClientGone):
		return err
	case s.life.Err() != nil:
		return supervisor.ErrClosed
	case errors.Is(err, multiplex.ErrAborted):
		err = fmt.Errorf("%w: stream %q gave up while it was answering: logs?source=output says why", supervisor.ErrBroken, e.id)
	}
	if errors.Is(err, supervisor.ErrBusy) {
		c.Set(fiber.HeaderRetryAfter, "1")
	}
	return s.noFunction(c, e, err)
}

// noFunction answers for a stream without a runner. Its /ready says so in
// the form that it always has; one that is idle is ready.
func (s *Server) noFunction(c *fiber.Ctx, e *exchange, err error) error {
	switch {
	case e.probe && isAny(err, supervisor.ErrUnavailable, supervisor.ErrTimeout, supervisor.ErrBroken):
		return c.Status(fiber.StatusServiceUnavailable).JSON(fiber.Map{
			"error": err.Error(), "statuses": []struct{}{},
		})
	case e.probe && errors.Is(err, supervisor.ErrIdle):
		return c.JSON(fiber.Map{"statuses": []struct{}{}})
	}
	return err
}

// answer passes the runner's answer on. What goes on ends the exchange when
// all of it was sent, or could not be.
func (e *exchange) answer(c *fiber.Ctx) error {
	head, piece, whole, err := e.call.Head()
	switch {
	case errors.Is(err, multiplex.ErrAborted):
		return err
	case err != nil:
		return fmt.Errorf("%w: the runner of stream %q: %w", supervisor.ErrBroken, e.id, err)
	}
	if e.upload != nil {
		e.upload.end()
	}
	connection := ""
	for name, value := range head.Headers {
		if isHeader(name, "Connection") {
			connection += "," + string(value)
		}
	}
	if len(connection) > maxConnection {
		return fmt.Errorf("%w: the runner of stream %q answers with a Connection header of %d bytes", supervisor.ErrBroken, e.id, len(connection))
	}
	out := c.Response()
	out.SetStatusCode(head.Status)
	out.Header.SetNoDefaultContentType(true)
	for name, value := range head.Headers {
		// The server sets the date by itself.
		if hopByHop(name) || isHeader(name, "Date") || isHeader(name, "Content-Length") || connection != "" && tokenIn(connection, name) {
			continue
		}
		out.Header.AddBytesKV(name, value)
	}
	switch {
	case c.Method() == fiber.MethodHead:
		out.SkipBody = true
		if head.ContentLength >= 0 {
			out.Header.SetContentLength(int(head.ContentLength))
		}
		e.end()
	case whole:
		out.SetBody(piece)
		e.end()
	default:
		e.follow(c)
		if head.ContentLength >= 0 && e.stay != nil {
			e.stay()
		}
		// A stream's headers go out before its first message is there.
		out.ImmediateHeaderFlush = head.ContentLength < 0
		out.SetBodyStream(&answerBody{e}, int(head.ContentLength))
	}
	return nil
}

// follow looks after an answer that goes on.
func (e *exchange) follow(c *fiber.Ctx) {
	if e.client == nil {
		e.watch(c)
	}
	e.call.StopReading(e.stop)
}

// answerBody is closed by the server once it has sent what there was.
type answerBody struct{ *exchange }

func (b *answerBody) Read(p []byte) (int, error) { return b.call.Read(p) }

// WriteTo implements io.WriterTo.
func (b *answerBody) WriteTo(w io.Writer) (int64, error) { return b.call.WriteTo(w) }

func (b *answerBody) Close() error {
	b.end()
	return nil
}

// pathOf is the decoded path of a request.
func pathOf(c *fiber.Ctx) (string, error) {
	target := c.Request().Header.RequestURI()
	path, _, _ := strings.Cut(string(target), "?")
	if strings.HasPrefix(path, "/") && !strings.Contains(path, "%") {
		return path, nil
	}
	u, err := parseTarget(string(target))
	if err != nil {
		return "", err
	}
	return u.Path, nil
}
