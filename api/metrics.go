package api

import (
	"bytes"
	"io"
	"net/http"

	"github.com/gofiber/fiber/v2"
)

// metrics serves /metrics. Fiber's own adaptor for such handlers would read
// the request's body, of whatever size.
func (s *Server) metrics(c *fiber.Ctx) error {
	if c.Method() != fiber.MethodGet {
		return unsupported(c)
	}
	r, err := s.asRequest(s.life, c)
	if err != nil {
		return err
	}
	w := &pageWriter{header: http.Header{}, status: http.StatusOK}
	s.streams.Metrics().ServeHTTP(w, r)
	plainAnswer(c, &http.Response{
		StatusCode: w.status, Header: w.header,
		Body: io.NopCloser(&w.body), ContentLength: int64(w.body.Len()),
	}, func() {})
	return nil
}

// pageWriter keeps an answer.
type pageWriter struct {
	header http.Header
	status int
	body   bytes.Buffer
}

// Header implements http.ResponseWriter.
func (w *pageWriter) Header() http.Header { return w.header }

// WriteHeader implements http.ResponseWriter.
func (w *pageWriter) WriteHeader(status int) { w.status = status }

// Write implements http.ResponseWriter.
func (w *pageWriter) Write(p []byte) (int, error) { return w.body.Write(p) }
