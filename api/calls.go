package api

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/gofiber/fiber/v2"

	"penstock/supervisor"
	"penstock/supervisor/calls"
)

const (
	// usualCalls and mostCalls are how many calls a list has.
	usualCalls = 100
	mostCalls  = 1000
	// longestWait bounds ?wait, so that no proxy takes the answer for lost.
	longestWait = time.Minute
	// pollAfter is when a call that has not ended is worth asking for again, in
	// seconds.
	pollAfter = "1"
)

// callsOf leaves what has not the form of a call's id to a stream that is called
// "calls".
func (s *Server) callsOf(handler fiber.Handler) fiber.Handler {
	return func(c *fiber.Ctx) error {
		if !calls.IsID(param(c, "call")) {
			return s.gateway(c)
		}
		return handler(c)
	}
}

// call serves /calls/{call}.
func (s *Server) call(c *fiber.Ctx) error {
	id := param(c, "call")
	switch c.Method() {
	case fiber.MethodGet:
		call, err := s.awaited(c, id)
		if err != nil {
			return err
		}
		return s.sendCall(pending(c, call), call)
	case fiber.MethodDelete:
		return s.streams.ForgetCall(id)
	}
	return unsupported(c)
}

// pending has a call that has not ended be answered 202.
func pending(c *fiber.Ctx, call calls.Call) *fiber.Ctx {
	if call.Status == calls.Done || call.Status == calls.Failed {
		return c
	}
	c.Set(fiber.HeaderRetryAfter, pollAfter)
	return c.Status(fiber.StatusAccepted)
}

// callResult serves /calls/{call}/result.
func (s *Server) callResult(c *fiber.Ctx) error {
	if c.Method() != fiber.MethodGet {
		return unsupported(c)
	}
	id := param(c, "call")
	call, err := s.awaited(c, id)
	if err != nil {
		return err
	}
	if call.Status != calls.Done {
		if call.Status != calls.Failed {
			return s.sendCall(pending(c, call), call)
		}
		c.Set(calls.StatusHeader, string(call.Status))
	}
	call, answer, err := s.streams.CallAnswer(id)
	if err != nil {
		return err
	}
	sendAnswer(c, call, answer)
	return nil
}

// awaited returns a call, once it has ended or for as long as ?wait says.
func (s *Server) awaited(c *fiber.Ctx, id string) (calls.Call, error) {
	wait := time.Duration(0)
	if text := c.Query("wait"); text != "" {
		var err error
		if wait, err = time.ParseDuration(text); err != nil || wait < 0 {
			return calls.Call{}, fiber.NewError(fiber.StatusBadRequest, "Error: the query parameter wait must be a duration with its unit, such as 30s")
		}
	}
	ctx, cancel := context.WithTimeout(s.life, min(wait, longestWait))
	defer cancel()
	if wait > 0 {
		// It would be told to nobody.
		client := watchClient(c.Context().Conn(), bodyOf(c), false, cancel)
		defer client.forget()
	}
	return s.streams.Call(ctx, id)
}

// callList is the answer of /calls.
type callList struct {
	Calls []calls.Call `json:"calls"`
	// Next is what ?before is to be for the rest; empty when this is all.
	Next string `json:"next,omitempty"`
}

// callSet serves /calls.
func (s *Server) callSet(c *fiber.Ctx) error {
	if c.Method() != fiber.MethodGet {
		return unsupported(c)
	}
	q := calls.Query{
		Stream: c.Query("stream"), Status: calls.Status(c.Query("state")), Before: c.Query("before"),
		Limit: usualCalls,
	}
	if q.Status != "" && !slices.Contains(calls.Statuses, q.Status) {
		return fiber.NewError(fiber.StatusBadRequest, "Error: the query parameter state must be queued, running, done or failed")
	}
	if text := c.Query("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > mostCalls {
			return fiber.NewError(fiber.StatusBadRequest, "Error: the query parameter limit must be a number from 1 to "+strconv.Itoa(mostCalls))
		}
		q.Limit = n
	}
	list, more, err := s.streams.Calls(q)
	if errors.Is(err, supervisor.ErrNoCall) {
		return fiber.NewError(fiber.StatusBadRequest, "Error: the query parameter before must be the id of a call that exists: begin without it")
	}
	if err != nil {
		return err
	}
	out := callList{Calls: list}
	if more {
		out.Next = list[len(list)-1].ID
	}
	return c.JSON(out)
}
