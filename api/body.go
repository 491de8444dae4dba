package api

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"github.com/gofiber/fiber/v2"
)

const (
	bodyKey = "body"
	// drainBytes is how much of a body that nobody wanted is read so that the
	// connection can be kept.
	drainBytes = 256 << 10
)

// requestBody is the body of one request. It remembers whether all of it was
// read: what is left on a connection would be taken for the next request.
type requestBody struct {
	// eof is set once all of it was read; asking for it never waits for a
	// read that is under way.
	eof atomic.Bool

	mu     sync.Mutex
	source io.Reader
	err    error
}

var errAbandoned = errors.New("the request was answered before its body was read")

// Read implements io.Reader.
func (b *requestBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil {
		return 0, b.err
	}
	n, err := b.source.Read(p)
	b.err = err
	if errors.Is(err, io.EOF) {
		b.eof.Store(true)
	}
	return n, err
}

// Close implements io.Closer. Whether the connection can be kept is decided
// when the request has been answered.
func (b *requestBody) Close() error { return nil }

// consumed reports whether the whole body was read.
func (b *requestBody) consumed() bool { return b.eof.Load() }

// abandon makes all further reads fail. A read that is under way is awaited;
// the caller ends it by the connection's deadline.
func (b *requestBody) abandon() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err == nil {
		b.err = errAbandoned
	}
}

// trackBody hands the handlers the request's body and closes the connection
// where a part of it was left unread.
func trackBody(c *fiber.Ctx) error {
	body := &requestBody{}
	switch stream := c.Context().RequestBodyStream(); {
	case stream != nil:
		body.source = stream
	case len(c.Request().Body()) > 0:
		body.source = bytes.NewReader(c.Request().Body())
	default:
		body.err = io.EOF
		body.eof.Store(true)
	}
	c.Locals(bodyKey, body)
	err := c.Next()
	if err != nil {
		// Answered here, since whether the body was read must be known after.
		err = c.App().ErrorHandler(c, err)
	}
	if !body.consumed() {
		if _, drainErr := io.CopyN(io.Discard, body, drainBytes); !errors.Is(drainErr, io.EOF) {
			c.Context().SetConnectionClose()
		}
	}
	return err
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

// config reads the body of an API request.
func (s *Server) config(c *fiber.Ctx) ([]byte, error) {
	limit := s.cfg.MaxBodyBytes
	if c.Request().Header.ContentLength() > limit {
		return nil, &tooLargeError{limit}
	}
	text, err := io.ReadAll(io.LimitReader(bodyOf(c), int64(limit)+1))
	if err != nil {
		return nil, fiber.NewError(fiber.StatusBadRequest, "reading the body: "+err.Error())
	}
	if len(text) > limit {
		return nil, &tooLargeError{limit}
	}
	return text, nil
}
