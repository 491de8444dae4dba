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
	statuses := []connectionStatus{}
	var faults []string
	ready := status.State == supervisor.StateIdle
	if status.Replicas != nil {
		for _, r := range status.Replicas.Runners {
			for _, conn := range r.Connections {
				statuses = append(statuses, connectionStatus{conn.Label, conn.Path, conn.Connected, conn.Error, r.Number})
			}
			if fault := unready(r); fault == "" {
				ready = true
			} else if r.State != supervisor.StateIdle {
				faults = append(faults, fmt.Sprintf("runner %d: %s", r.Number, fault))
			}
		}
	}
	if ready {
		return c.JSON(fiber.Map{"statuses": statuses})
	}
	return c.Status(fiber.StatusServiceUnavailable).JSON(fiber.Map{"error": strings.Join(faults, "; "), "statuses": statuses})
}

// unready says why a runner is of no use to who calls the stream now; empty when
// it is.
func unready(r supervisor.Replica) string {
	switch {
	case r.State != supervisor.StateRunning:
		return fmt.Sprintf("it is %s: %s", r.State, r.Reason)
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
