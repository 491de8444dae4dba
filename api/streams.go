package api

import (
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"

	"penstock/supervisor"
	"penstock/supervisor/document"
)

// streamInfo is one stream in upstream's list.
type streamInfo struct {
	Active    bool    `json:"active"`
	Uptime    float64 `json:"uptime"`
	UptimeStr string  `json:"uptime_str"`
}

// streamDetail is upstream's answer for one stream.
type streamDetail struct {
	streamInfo
	Config any `json:"config"`
}

func infoOf(snap supervisor.Snapshot) streamInfo {
	return streamInfo{Active: snap.Active, Uptime: snap.Uptime.Seconds(), UptimeStr: snap.Uptime.String()}
}

// streamSet serves /streams.
func (s *Server) streamSet(c *fiber.Ctx) error {
	switch c.Method() {
	case fiber.MethodGet:
		infos := map[string]streamInfo{}
		for _, snap := range s.streams.List() {
			infos[snap.ID] = infoOf(snap)
		}
		return c.JSON(infos)
	case fiber.MethodPost:
		text, err := s.config(c)
		if err != nil {
			return err
		}
		set, err := document.ParseSet(text)
		if err != nil {
			return err
		}
		return s.streams.ReplaceAll(waiting(), set, change(c))
	}
	return fiber.NewError(fiber.StatusBadRequest, "Error: method not supported")
}

// stream serves /streams/{id}.
func (s *Server) stream(c *fiber.Ctx) error {
	return ofStream(s.onStream(c, param(c, "id")))
}

func (s *Server) onStream(c *fiber.Ctx, id string) error {
	switch c.Method() {
	case fiber.MethodGet:
		snap, err := s.streams.Get(id)
		if err != nil {
			return err
		}
		return c.JSON(streamDetail{infoOf(snap), snap.Document.Value()})
	case fiber.MethodDelete:
		return s.streams.Delete(waiting(), id, change(c).Timeout)
	case fiber.MethodPost, fiber.MethodPut, fiber.MethodPatch:
	default:
		return unsupported(c)
	}

	if c.Method() == fiber.MethodPatch {
		// As upstream, a patch of nothing is not looked at.
		if _, err := s.streams.Get(id); err != nil {
			return err
		}
	}
	doc, err := s.document(c)
	if err != nil {
		return err
	}
	switch c.Method() {
	case fiber.MethodPost:
		return s.streams.Create(waiting(), id, doc, change(c))
	case fiber.MethodPut:
		return s.streams.Update(waiting(), id, doc, change(c))
	default:
		return s.streams.Patch(waiting(), id, doc, change(c))
	}
}

// streamStats serves /streams/{id}/stats.
func (s *Server) streamStats(c *fiber.Ctx) error {
	if c.Method() != fiber.MethodGet {
		return unsupported(c)
	}
	format := c.Query("format", "tree")
	if format != "tree" && format != "flat" {
		return fiber.NewError(fiber.StatusBadRequest, "Error: the query parameter format must be tree or flat")
	}
	report, err := s.streams.Stats(waiting(), param(c, "id"))
	if err != nil {
		return ofStream(err)
	}
	if format == "flat" {
		return c.JSON(report.Flat())
	}
	return c.JSON(report.Tree())
}

func unsupported(c *fiber.Ctx) error {
	return fiber.NewError(fiber.StatusBadRequest, "Error: verb not supported: "+strings.Clone(c.Method()))
}

// change reads the query parameters of a change. A timeout that cannot be
// read counts as none, as upstream.
func change(c *fiber.Ctx) supervisor.Change {
	ch := supervisor.Change{Chilled: c.Query("chilled") == "true"}
	if d, err := time.ParseDuration(c.Query("timeout")); err == nil {
		// Zero and less ask for a stop at once.
		ch.Timeout = max(d, time.Millisecond)
	}
	return ch
}
