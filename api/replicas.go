package api

import (
	"context"
	"fmt"
	"strings"

	"github.com/gofiber/fiber/v2"

	"penstock/supervisor"
)

// connectionStatus is one line of a stream's own /ready, as the engine writes
// it, and the runner that it is about.
type connectionStatus struct {
	Label     string `json:"label"`
	Path      string `json:"path"`
	Connected bool   `json:"connected"`
	Error     string `json:"error,omitempty"`
	Replica   int    `json:"replica"`
}

// readyOfSeveral serves the /ready of a stream that has several runners, each of
// which could tell only of itself. The stream is ready while one of them is:
// it answers what is sent to it.
func (s *Server) readyOfSeveral(c *fiber.Ctx, id string) error {
	ctx, cancel := context.WithTimeout(waiting(), readyTime)
	defer cancel()
	status, err := s.streams.Status(ctx, id)
	if err != nil {
		return err
	}
	// It may have one only by now.
	runners := []supervisor.Replica{{
		Number: 1, State: status.State, Reason: status.Reason, Connections: status.Connections, Unanswered: status.Unanswered,
	}}
	if status.Replicas != nil {
		runners = status.Replicas.Runners
	}
	statuses, ready := []connectionStatus{}, false
	var faults []string
	for _, r := range runners {
		for _, conn := range r.Connections {
			statuses = append(statuses, connectionStatus{conn.Label, conn.Path, conn.Connected, conn.Error, r.Number})
		}
		switch why := whyNotReady(r); {
		case why == "", r.Number == 1 && r.State == supervisor.StateIdle:
			// The first rests only with the whole stream, which a call wakes.
			ready = true
		case r.State != supervisor.StateIdle:
			faults = append(faults, fmt.Sprintf("runner %d: %s", r.Number, why))
		}
	}
	if ready {
		return c.JSON(fiber.Map{"statuses": statuses})
	}
	return c.Status(fiber.StatusServiceUnavailable).JSON(fiber.Map{"error": strings.Join(faults, "; "), "statuses": statuses})
}

// whyNotReady is empty for a runner that is of use to who calls the stream now.
func whyNotReady(r supervisor.Replica) string {
	switch {
	case r.State != supervisor.StateRunning && r.Reason != "":
		return fmt.Sprintf("it is %s: %s", r.State, r.Reason)
	case r.State != supervisor.StateRunning:
		return "it is " + string(r.State)
	case r.Unanswered != "":
		return r.Unanswered
	}
	for _, conn := range r.Connections {
		if !conn.Connected {
			return conn.Path + " is not connected"
		}
	}
	return ""
}
