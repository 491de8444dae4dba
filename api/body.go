package api

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"

	"penstock/supervisor/document"
)

const (
	bodyKey = "body"
	// spareBytes and spareTime bound how much of a body that nobody wanted is
	// read so that the connection can be kept for the next request.
	spareBytes = 256 << 10
	spareTime  = 250 * time.Millisecond
	// lingerBytes and lingerTime bound what is read after the answer was sent
	// on a connection that is to be closed. One that is closed with input
	// unread is reset, and the answer lost with it.
	lingerBytes = 64 << 20
	lingerTime  = 5 * time.Second
)

// requestBody is the body of one request. It remembers whether all of it was
// read: what is left on a connection would be taken for the next request.
type requestBody struct {
	// eof is set once all of it was read; asking for it never waits for a
	// read that is under way.
	eof    atomic.Bool
	mu     sync.Mutex
	source io.Reader
	// left is how much the client has announced; negative when it has not.
	left int
	// begun is set once something was read.
	begun bool
	err   error

	// conn is where the body comes from. The parser takes its end for that of
	// a body without a length.
	conn net.Conn
	// pause is how long a read may wait for the client.
	pause time.Duration
	// deadline guards the deadline of conn while there is a body: nothing
	// moves it any more once it is final.
	deadline sync.Mutex
	final    bool
}

func newRequestBody(c *fiber.Ctx, pause time.Duration) *requestBody {
	b := &requestBody{left: -1, conn: c.Context().Conn(), pause: pause}
	if stream := c.Context().RequestBodyStream(); stream != nil && c.Request().Header.ContentLength() != 0 {
		b.source, b.left = stream, c.Request().Header.ContentLength()
		return b
	}
	b.wait(time.Time{})
	b.err = io.EOF
	b.eof.Store(true)
	return b
}

// patient lets the client be watched for longer than the body could be read.
func (b *requestBody) patient() { _ = b.conn.SetReadDeadline(time.Time{}) }

// wait moves the deadline of reads, unless it is final.
func (b *requestBody) wait(until time.Time) {
	b.deadline.Lock()
	defer b.deadline.Unlock()
	if !b.final {
		_ = b.conn.SetReadDeadline(until)
	}
}

// hurry makes the deadline of reads final, also for one that is under way.
func (b *requestBody) hurry() {
	b.deadline.Lock()
	defer b.deadline.Unlock()
	b.final = true
	_ = b.conn.SetReadDeadline(time.Now().Add(spareTime))
}

// Read implements io.Reader. A body that is shorter than was announced ends
// with io.ErrUnexpectedEOF, and one that pauses for too long with
// fiber.ErrRequestTimeout.
func (b *requestBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil {
		return 0, b.err
	}
	n, err := b.readSome(p)
	if b.left >= 0 {
		b.left -= n
	}
	if errors.Is(err, io.EOF) && (b.left > 0 || b.left < 0 && hungUp(b.conn)) {
		err = io.ErrUnexpectedEOF
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = fiber.ErrRequestTimeout
	}
	b.err = err
	if errors.Is(err, io.EOF) {
		// What is read from here on is the watch on the client, or nothing.
		b.wait(time.Time{})
		b.eof.Store(true)
	}
	return n, err
}

// readSome waits for the client. The parser hands out the first byte of a body
// with a length alone: with it goes what else is there already, lest it become
// a packet of its own on the way to the runner.
func (b *requestBody) readSome(p []byte) (int, error) {
	first := !b.begun
	b.begun = true
	if !first {
		// The first deadline is the server's, from when the headers were there.
		b.wait(time.Now().Add(b.pause))
	}
	n, err := b.source.Read(p)
	if !first || err != nil || b.left < 0 || n == len(p) {
		return n, err
	}
	b.wait(time.Unix(1, 0))
	more, err := b.source.Read(p[n:])
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = nil
	}
	return n + more, err
}

// consumed reports whether the whole body was read.
func (b *requestBody) consumed() bool { return b.eof.Load() }

// fault is why the body could not be read; nil when it could.
func (b *requestBody) fault() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if errors.Is(b.err, io.EOF) {
		return nil
	}
	return b.err
}

// trackBody hands the handlers the request's body and sees to what they left
// unread of it.
func (s *Server) trackBody(c *fiber.Ctx) error {
	body := newRequestBody(c, s.bounds.body)
	c.Locals(bodyKey, body)
	err := c.Next()
	if err != nil {
		// Answered here, since whether the body was read must be known after.
		err = c.App().ErrorHandler(c, err)
	}
	if !body.consumed() && !body.spare() {
		linger(c.Context())
	}
	return err
}

// spare reads the rest of a body if it is small and there, and reports
// whether it was.
func (b *requestBody) spare() bool {
	b.hurry()
	_, err := io.CopyN(io.Discard, b, spareBytes)
	_ = b.conn.SetReadDeadline(time.Time{})
	return errors.Is(err, io.EOF) && b.consumed()
}

// linger has the answer sent and the connection closed, but not before the
// client had time to stop sending and read the answer.
func linger(ctx *fasthttp.RequestCtx) {
	ctx.HijackSetNoResponse(true)
	var taken atomic.Bool
	atClose(ctx.Conn(), func() {
		if !taken.Swap(true) {
			_ = ctx.Response.CloseBodyStream()
		}
	})
	ctx.Hijack(func(conn net.Conn) {
		if taken.Swap(true) {
			return
		}
		ctx.Response.Header.SetConnectionClose()
		w := bufio.NewWriter(conn)
		if err := ctx.Response.Write(w); err != nil {
			return
		}
		if err := w.Flush(); err != nil {
			return
		}
		if half, ok := ctx.Conn().(interface{ CloseWrite() error }); ok {
			_ = half.CloseWrite()
		}
		_ = conn.SetReadDeadline(time.Now().Add(lingerTime))
		_, _ = io.CopyN(io.Discard, conn, lingerBytes)
	})
}

func bodyOf(c *fiber.Ctx) *requestBody {
	body, _ := c.Locals(bodyKey).(*requestBody)
	return body
}

// tooLargeError says that a config is larger than is allowed.
type tooLargeError struct{ limit int }

func (e *tooLargeError) Error() string {
	return fmt.Sprintf("the body is larger than %d bytes, the server's http.max_body_bytes", e.limit)
}

// unreadable is the answer to a request whose body could not be read.
func unreadable(fault error) error {
	if errors.Is(fault, fiber.ErrRequestTimeout) {
		return fault
	}
	return fiber.NewError(fiber.StatusBadRequest, "Error: reading the body: "+fault.Error())
}

// config reads the body of an API request.
func (s *Server) config(c *fiber.Ctx) ([]byte, error) {
	limit := s.cfg.MaxBodyBytes
	if c.Request().Header.ContentLength() > limit {
		return nil, &tooLargeError{limit}
	}
	text, err := io.ReadAll(io.LimitReader(bodyOf(c), int64(limit)+1))
	if err != nil {
		return nil, unreadable(err)
	}
	if len(text) > limit {
		return nil, &tooLargeError{limit}
	}
	return text, nil
}

// document reads the body of an API request as one config.
func (s *Server) document(c *fiber.Ctx) (*document.Document, error) {
	text, err := s.config(c)
	if err != nil {
		return nil, err
	}
	return document.Parse(text)
}
