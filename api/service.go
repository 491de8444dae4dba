package api

import (
	"fmt"
	"strings"

	"github.com/gofiber/fiber/v2"
)

func (s *Server) ping(c *fiber.Ctx) error { return c.SendString("pong") }

func (s *Server) serviceVersion(c *fiber.Ctx) error {
	return c.JSON(fiber.Map{
		"version": s.version, "built": s.built, "runner": s.streams.RunnerVersion(), "runners": s.streams.RunnerVersions(),
	})
}

// endpoints lists the API's paths and those of the running streams.
func (s *Server) endpoints(c *fiber.Ctx) error {
	out := map[string]string{}
	for _, e := range s.streams.Endpoints() {
		out[e.Path] = fmt.Sprintf("An endpoint of the stream %s.", e.Stream)
	}
	for _, r := range s.apiRoutes() {
		out[upstreamPath(r.path)] = r.description
	}
	return c.JSON(out)
}

// upstreamPath writes parameters as upstream does: {id} for :id.
func upstreamPath(path string) string {
	segments := strings.Split(path, "/")
	for i, segment := range segments {
		if name, ok := strings.CutPrefix(segment, ":"); ok {
			segments[i] = "{" + name + "}"
		}
	}
	return strings.Join(segments, "/")
}

// ready serves /ready for all streams.
func (s *Server) ready(c *fiber.Ctx) error {
	faults := s.streams.Ready(waiting())
	if len(faults) == 0 {
		return c.SendString("OK")
	}
	ids := make([]string, len(faults))
	reasons := make([]string, len(faults))
	for i, f := range faults {
		ids[i] = f.ID
		if f.Replica > 0 {
			ids[i] = fmt.Sprintf("%s (runner %d)", f.ID, f.Replica)
		}
		reasons[i] = ids[i] + ": " + f.Reason
	}
	return c.Status(fiber.StatusServiceUnavailable).SendString(fmt.Sprintf(
		"streams %s are not connected: %s\n", strings.Join(ids, ", "), strings.Join(reasons, "; ")))
}
