package api

import (
	"strings"

	"github.com/gofiber/fiber/v2"
)

// schemaType is the content type of a JSON Schema.
const schemaType = "application/schema+json"

// componentList serves /components.
func (s *Server) componentList(c *fiber.Ctx) error {
	if c.Method() != fiber.MethodGet {
		return unsupported(c)
	}
	list, err := s.streams.Components(waiting(), strings.Clone(c.Query("class")), strings.Clone(c.Query("runner")))
	if err != nil {
		return err
	}
	return c.JSON(fiber.Map{"components": list})
}

// component serves /components/{class}/{name}.
func (s *Server) component(c *fiber.Ctx) error {
	if c.Method() != fiber.MethodGet {
		return unsupported(c)
	}
	schema, err := s.streams.Component(waiting(), param(c, "class"), param(c, "name"), strings.Clone(c.Query("runner")))
	if err != nil {
		return err
	}
	return c.JSON(schema, schemaType)
}

// configSchema serves /components/schema.
func (s *Server) configSchema(c *fiber.Ctx) error {
	if c.Method() != fiber.MethodGet {
		return unsupported(c)
	}
	schema, err := s.streams.ConfigSchema(waiting(), strings.Clone(c.Query("runner")))
	if err != nil {
		return err
	}
	return c.JSON(schema, schemaType)
}
