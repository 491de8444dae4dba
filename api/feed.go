package api

import (
	"context"
	"errors"
	"io"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"
	"go.uber.org/zap"
)

const (
	// feedAhead is how many pieces are fetched before the client has taken
	// those before them. Many small ones then go out as one.
	feedAhead = 64
	// feedLastWrite bounds the write to a client that has stopped reading once
	// the server shuts down.
	feedLastWrite = time.Second
)

// feed is the body of an answer that goes on for as long as there is something
// to tell. Each piece is sent when it is there.
type feed struct {
	pieces chan []byte
	rest   []byte
	// err is why there are no more pieces. It is written before pieces is
	// closed and read after.
	err error
	// cancel ends the fetching, finish comes after it.
	cancel, finish func()
}

// startFeed begins to fetch pieces until next fails. The end of ctx is not a
// failure but the end.
func startFeed(ctx context.Context, next func(context.Context) ([]byte, error), finish func()) *feed {
	ctx, cancel := context.WithCancel(ctx)
	f := &feed{pieces: make(chan []byte, feedAhead), cancel: cancel, finish: finish}
	go func() {
		defer close(f.pieces)
		for {
			piece, err := next(ctx)
			if ctx.Err() != nil {
				err = io.EOF
			}
			if err != nil {
				f.err = err
				return
			}
			select {
			case f.pieces <- piece:
			case <-ctx.Done():
				f.err = io.EOF
				return
			}
		}
	}()
	return f
}

// Read implements io.Reader. It waits for one piece and takes what else is
// there already.
func (f *feed) Read(p []byte) (int, error) {
	for len(f.rest) == 0 {
		piece, more := <-f.pieces
		if !more {
			return 0, f.err
		}
		f.rest = piece
	}
	n := 0
	for {
		took := copy(p[n:], f.rest)
		n, f.rest = n+took, f.rest[took:]
		if n == len(p) {
			return n, nil
		}
		select {
		case f.rest = <-f.pieces:
			if f.rest == nil {
				return n, nil // That was the last: the next call says why.
			}
		default:
			return n, nil
		}
	}
}

// Close implements io.Closer: the server calls it once when all was sent, or
// could not be.
func (f *feed) Close() error {
	f.cancel()
	for range f.pieces {
		// Until the fetching has ended.
	}
	f.finish()
	return nil
}

// sendFeed answers with the pieces that next returns until it fails, ctx or
// the server ends, or the client has gone. finish is called at the end.
func (s *Server) sendFeed(ctx context.Context, c *fiber.Ctx, contentType string, next func(context.Context) ([]byte, error), finish func()) {
	ctx, cancel := context.WithCancel(ctx)
	conn := c.Context().Conn()
	client := watchClient(conn, bodyOf(c), true, cancel)
	notAtEnd := context.AfterFunc(s.life, func() {
		cancel()
		_ = conn.SetWriteDeadline(time.Now().Add(feedLastWrite))
	})
	path := strings.Clone(c.Path())
	f := startFeed(ctx, func(ctx context.Context) ([]byte, error) {
		piece, err := next(ctx)
		if err != nil && !errors.Is(err, io.EOF) && ctx.Err() == nil {
			// Its status was sent long ago: the connection is closed, and only
			// the log can say why.
			s.log.Error("an answer was broken off", zap.String("path", path), zap.Error(err))
		}
		return piece, err
	}, func() {
		notAtEnd()
		client.forget()
		cancel()
		finish()
	})
	c.Set(fiber.HeaderContentType, contentType)
	c.Set(fiber.HeaderCacheControl, "no-cache")
	c.Set(fiber.HeaderXContentTypeOptions, "nosniff")
	// nginx would keep it until it has a page full.
	c.Set("X-Accel-Buffering", "no")
	c.Response().ImmediateHeaderFlush = true
	c.Response().SetBodyStream(f, -1)
}
