package api

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"

	"penstock/supervisor"
	"penstock/supervisor/events"
	"penstock/supervisor/logs"
)

const (
	// defaultTail is how many lines of a log are sent when nothing is said.
	defaultTail = 200
	// lastWords is how long a log is followed on when its stream was deleted,
	// for what it wrote as it stopped.
	lastWords = 250 * time.Millisecond

	mimeNDJSON = "application/x-ndjson"
)

// badParameter names the query parameter that cannot be used.
func badParameter(name, must string) error {
	return fiber.NewError(fiber.StatusBadRequest, "Error: the query parameter "+name+" must be "+must)
}

// logNumber reads of which of a stream's runners a log is asked for.
func logNumber(c *fiber.Ctx) (int, error) {
	text := c.Query("replica")
	if text == "" {
		return 1, nil
	}
	number, err := strconv.Atoi(text)
	if err != nil || number < 1 {
		return 0, badParameter("replica", "the number of a runner, from 1")
	}
	return number, nil
}

// logQuery reads what of a log is asked for.
func logQuery(c *fiber.Ctx) (q logs.Query, ndjson bool, err error) {
	q = logs.Query{Tail: defaultTail, Source: logs.SourceLog}
	if text := c.Query("tail"); text != "" {
		if q.Tail, err = strconv.Atoi(text); err != nil {
			return q, false, badParameter("tail", "a number of lines, or -1 for all")
		}
	}
	switch c.Query("follow") {
	case "", "false":
	case "true":
		q.Follow = true
	default:
		return q, false, badParameter("follow", "true or false")
	}
	if source := c.Query("source"); source != "" {
		q.Source = logs.Source(strings.Clone(source))
	}
	q.Level = strings.Clone(c.Query("level"))
	if err := q.Validate(); err != nil {
		return q, false, fiber.NewError(fiber.StatusBadRequest, "Error: the query parameter "+err.Error())
	}
	switch c.Query("format") {
	case "":
		ndjson = c.Accepts(fiber.MIMETextPlain, mimeNDJSON) == mimeNDJSON
	case "text":
	case "ndjson":
		ndjson = true
	default:
		return q, false, badParameter("format", "text or ndjson")
	}
	return q, ndjson, nil
}

// streamLogs serves /streams/{id}/logs.
func (s *Server) streamLogs(c *fiber.Ctx) error {
	if c.Method() != fiber.MethodGet {
		return unsupported(c)
	}
	q, ndjson, err := logQuery(c)
	if err != nil {
		return err
	}
	number, err := logNumber(c)
	if err != nil {
		return err
	}
	id := param(c, "id")
	ctx, end := context.WithCancel(s.life)
	var transitions *events.Subscription
	if q.Follow {
		// Before the log is opened, so that no deletion is missed.
		if transitions, err = s.streams.Subscribe(id, ""); err != nil {
			end()
			return ofStream(err)
		}
	}
	finish := func() {
		end()
		if transitions != nil {
			transitions.Close()
		}
	}
	reader, err := s.streams.Log(id, number, q)
	if err != nil {
		finish()
		return ofStream(err)
	}
	if transitions != nil {
		go func() {
			s.awaitDeletion(ctx, id, number, transitions)
			time.AfterFunc(lastWords, end)
		}()
	}

	contentType := fiber.MIMETextPlainCharsetUTF8
	if ndjson {
		contentType = mimeNDJSON
	}
	s.sendFeed(ctx, c, contentType, func(ctx context.Context) ([]byte, error) {
		line, err := reader.Next(ctx)
		switch {
		case err != nil:
			return nil, err
		case ndjson:
			return append(line.JSON(), '\n'), nil
		}
		return []byte(line.Text() + "\n"), nil
	}, func() {
		_ = reader.Close() // What was only read cannot be lost.
		finish()
	})
	return nil
}

// awaitDeletion returns when the stream was deleted, or its runner of that number,
// or when nothing more will be heard of it.
func (s *Server) awaitDeletion(ctx context.Context, id string, number int, transitions *events.Subscription) {
	for {
		event, err := transitions.Next(ctx)
		switch {
		case errors.Is(err, events.ErrLagged):
			if _, err := s.streams.Get(id); err != nil {
				return
			}
		case err != nil, event.State == string(supervisor.StateStopped) && (event.Replica <= 1 || event.Replica == number):
			return
		}
	}
}
