package api

import (
	"context"
	"fmt"

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
// which could tell only of itself.
func (s *Server) readyOfSeveral(c *fiber.Ctx, id string) error {
	ctx, cancel := context.WithTimeout(waiting(), readyTime)
	defer cancel()
	status, err := s.streams.Status(ctx, id)
	if err != nil {
		return err
	}
	statuses, fault := []connectionStatus{}, ""
	if status.Replicas != nil {
		for _, r := range status.Replicas.Runners {
			for _, conn := range r.Connections {
				statuses = append(statuses, connectionStatus{conn.Label, conn.Path, conn.Connected, conn.Error, r.Number})
				if !conn.Connected && fault == "" {
					fault = fmt.Sprintf("runner %d: %s is not connected", r.Number, conn.Path)
				}
			}
			switch {
			case r.State == supervisor.StateIdle:
			case r.State != supervisor.StateRunning:
				fault = fmt.Sprintf("runner %d: it is %s: %s", r.Number, r.State, r.Reason)
			case r.Unanswered != "":
				fault = fmt.Sprintf("runner %d: %s", r.Number, r.Unanswered)
			}
		}
	}
	if fault == "" {
		return c.JSON(fiber.Map{"statuses": statuses})
	}
	return c.Status(fiber.StatusServiceUnavailable).JSON(fiber.Map{"error": fault, "statuses": statuses})
}
