package api

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/gofiber/fiber/v2"
)

// readToken reads the one token of the file; empty means none is wanted.
func readToken(file string) (string, error) {
	if file == "" {
		return "", nil
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("reading http.auth.token_file: %w", err)
	}
	token := strings.TrimSpace(string(data))
	if token == "" || strings.ContainsAny(token, " \t\r\n") {
		return "", fmt.Errorf("http.auth.token_file %s: it must hold one token, without white space", file)
	}
	return token, nil
}

var errUnauthorized = errors.New("send the bearer token of this server in the Authorization header")

// authenticate refuses requests without the token, if there is one. /ping
// stays open for health checks.
func (s *Server) authenticate(c *fiber.Ctx) error {
	if s.token == "" || c.Path() == "/ping" {
		return c.Next()
	}
	scheme, given, _ := strings.Cut(c.Get(fiber.HeaderAuthorization), " ")
	if !strings.EqualFold(scheme, "Bearer") || subtle.ConstantTimeCompare([]byte(given), []byte(s.token)) != 1 {
		c.Set(fiber.HeaderWWWAuthenticate, "Bearer")
		return errUnauthorized
	}
	return c.Next()
}
