package api

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/gofiber/fiber/v2"

	"penstock/supervisor"
)

// pause serves /streams/{id}/pause.
func (s *Server) pause(c *fiber.Ctx) error { return control(c, s.streams.Pause) }

// resume serves /streams/{id}/resume.
func (s *Server) resume(c *fiber.Ctx) error { return control(c, s.streams.Resume) }

// restart serves /streams/{id}/restart.
func (s *Server) restart(c *fiber.Ctx) error { return control(c, s.streams.Restart) }

// control has a stream do what needs nothing but its id.
func control(c *fiber.Ctx, do func(context.Context, string, supervisor.Change) error) error {
	if c.Method() != fiber.MethodPost {
		return unsupported(c)
	}
	return ofStream(do(waiting(), param(c, "id"), change(c)))
}

// streamStatus serves /streams/{id}/status.
func (s *Server) streamStatus(c *fiber.Ctx) error {
	if c.Method() != fiber.MethodGet {
		return unsupported(c)
	}
	status, err := s.streams.Status(waiting(), param(c, "id"))
	if err != nil {
		return ofStream(err)
	}
	return c.JSON(status)
}

// revisionInfo is one config of a stream's past in an answer.
type revisionInfo struct {
	Revision uint64    `json:"revision"`
	At       time.Time `json:"at"`
	Origin   string    `json:"origin"`
	Chilled  bool      `json:"chilled"`
	Config   any       `json:"config"`
}

// revisions serves /streams/{id}/revisions.
func (s *Server) revisions(c *fiber.Ctx) error {
	if c.Method() != fiber.MethodGet {
		return unsupported(c)
	}
	kept, err := s.streams.Revisions(param(c, "id"))
	if err != nil {
		return ofStream(err)
	}
	infos := make([]revisionInfo, 0, len(kept))
	for _, r := range kept {
		infos = append(infos, revisionInfo{r.Number, r.At, r.Origin, r.Chilled, r.Document.Value()})
	}
	return c.JSON(infos)
}

// rollback serves /streams/{id}/rollback.
func (s *Server) rollback(c *fiber.Ctx) error {
	if c.Method() != fiber.MethodPost {
		return unsupported(c)
	}
	number, err := strconv.ParseUint(c.Query("revision"), 10, 64)
	if err != nil || number == 0 {
		return badParameter("revision", "the number of a revision that GET /streams/{id}/revisions lists")
	}
	id := param(c, "id")
	if _, err := s.streams.Get(id); err != nil {
		return ofStream(err)
	}
	err = s.streams.Rollback(waiting(), id, number, change(c))
	if errors.Is(err, supervisor.ErrNotFound) {
		return fiber.NewError(fiber.StatusNotFound,
			fmt.Sprintf("Error: revision %d is not kept: GET /streams/%s/revisions lists those that are", number, id))
	}
	return err
}
