package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"

	"penstock/supervisor"
	"penstock/supervisor/events"
)

// heartbeat is how long a client of events hears nothing at most: proxies
// close connections that are silent for longer, a minute as a rule.
const heartbeat = 15 * time.Second

// allEvents serves /events.
func (s *Server) allEvents(c *fiber.Ctx) error { return s.sendEvents(c, "") }

// streamEvents serves /streams/{id}/events.
func (s *Server) streamEvents(c *fiber.Ctx) error { return s.sendEvents(c, param(c, "id")) }

// sendEvents sends the transitions of one stream or, with an empty id, of all.
func (s *Server) sendEvents(c *fiber.Ctx, id string) error {
	if c.Method() != fiber.MethodGet {
		return unsupported(c)
	}
	// The query is for clients that cannot set headers.
	last := strings.Clone(c.Get("Last-Event-ID", c.Query("last_event_id")))
	sub, err := s.streams.Subscribe(id, last)
	if err != nil {
		return ofStream(err)
	}
	s.sendFeed(s.life, c, "text/event-stream", eventPieces(sub, id, heartbeat), sub.Close)
	return nil
}

// eventPieces returns the events of a subscription in the format of
// server-sent events, and a comment whenever nothing happens for that long.
// Those of one stream end when it was deleted.
func eventPieces(sub *events.Subscription, id string, silence time.Duration) func(context.Context) ([]byte, error) {
	deleted := false
	return func(ctx context.Context) ([]byte, error) {
		if deleted {
			return nil, io.EOF
		}
		beat, cancel := context.WithTimeout(ctx, silence)
		defer cancel()
		event, err := sub.Next(beat)
		switch {
		case errors.Is(err, events.ErrLagged):
			return lagged(id), nil
		case errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil:
			return []byte(":\n\n"), nil
		case err != nil:
			return nil, err
		}
		deleted = id != "" && event.State == string(supervisor.StateStopped) && event.Replica <= 1
		data, err := json.Marshal(event)
		if err != nil {
			return nil, fmt.Errorf("encoding event %s: %w", event.ID, err)
		}
		return fmt.Appendf(nil, "id: %s\nevent: transition\ndata: %s\n\n", event.ID, data), nil
	}
}

// lagged tells a client that it has missed something.
func lagged(id string) []byte {
	if id == "" {
		id = "{id}"
	}
	return fmt.Appendf(nil, "event: lagged\ndata: {\"message\":\"events were lost: GET /streams/%s/status tells how things are now\"}\n\n", id)
}
