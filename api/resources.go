package api

import (
	"errors"

	"github.com/gofiber/fiber/v2"

	"penstock/supervisor"
)

// resourceInfo is one resource in an answer.
type resourceInfo struct {
	Config any `json:"config"`
	// Shared says that all streams use one instance.
	Shared bool `json:"shared"`
	// Streams are those that use it.
	Streams []string `json:"streams"`
}

// resourceList serves /resources.
func (s *Server) resourceList(c *fiber.Ctx) error {
	if c.Method() != fiber.MethodGet {
		return unsupported(c)
	}
	byType := map[string]map[string]resourceInfo{}
	for _, r := range s.streams.Resources() {
		if byType[r.Type] == nil {
			byType[r.Type] = map[string]resourceInfo{}
		}
		byType[r.Type][r.ID] = resourceInfo{r.Document.Value(), r.Shared, r.Streams}
	}
	return c.JSON(byType)
}

// resource serves /resources/{type}/{id}.
func (s *Server) resource(c *fiber.Ctx) error {
	err := s.onResource(c, param(c, "type"), param(c, "id"))
	var set *supervisor.SetError
	if errors.Is(err, supervisor.ErrNotFound) && !errors.As(err, &set) {
		return fiber.NewError(fiber.StatusNotFound, "Resource not found")
	}
	return err
}

func (s *Server) onResource(c *fiber.Ctx, typ, id string) error {
	switch c.Method() {
	case fiber.MethodGet:
		r, err := s.streams.GetResource(typ, id)
		if err != nil {
			return err
		}
		return c.JSON(resourceInfo{r.Document.Value(), r.Shared, r.Streams})
	case fiber.MethodDelete:
		return s.streams.DeleteResource(waiting(), typ, id)
	case fiber.MethodPost:
	default:
		return unsupported(c)
	}
	doc, err := s.document(c)
	if err != nil {
		return err
	}
	return s.streams.PutResource(waiting(), typ, id, doc, change(c))
}
