package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"slices"

	"github.com/gofiber/fiber/v2"
)

var logLevels = []string{"debug", "info", "warn", "error"}

// logLevel serves /streams/{id}/log-level.
func (s *Server) logLevel(c *fiber.Ctx) error {
	if c.Method() != fiber.MethodPut {
		return unsupported(c)
	}
	body, err := s.config(c)
	if err != nil {
		return err
	}
	level, ok := levelOf(body)
	if !ok {
		return fiber.NewError(fiber.StatusBadRequest, `Error: the body must be debug, info, warn or error, as it is or as {"level":"info"}`)
	}
	return ofStream(s.streams.SetLogLevel(waiting(), param(c, "id"), level))
}

// levelOf reads the body of a change of the log level, plain or JSON.
func levelOf(body []byte) (level string, ok bool) {
	body = bytes.TrimSpace(body)
	level = string(body)
	if bytes.HasPrefix(body, []byte("{")) {
		var given struct {
			Level string `json:"level"`
		}
		dec := json.NewDecoder(bytes.NewReader(body))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&given); err != nil {
			return "", false
		}
		if _, err := dec.Token(); !errors.Is(err, io.EOF) {
			return "", false
		}
		level = given.Level
	}
	return level, slices.Contains(logLevels, level)
}
