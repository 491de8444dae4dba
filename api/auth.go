package api

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/gofiber/fiber/v2"
)

// tokens are what opens the server; the zero value asks for none.
type tokens struct {
	// all opens every route. Empty means that no token is asked for.
	all string
	// functions opens the streams' own endpoints only. Empty means that there
	// is none.
	functions string
}

// readTokens reads the files that are configured.
func readTokens(auth Auth) (tokens, error) {
	all, err := readToken("http.auth.token_file", auth.TokenFile)
	if err != nil {
		return tokens{}, err
	}
	functions, err := readToken("http.auth.functions_token_file", auth.FunctionsTokenFile)
	if err != nil {
		return tokens{}, err
	}
	if all != "" && all == functions {
		return tokens{}, fmt.Errorf("http.auth.functions_token_file %s: it holds the token of http.auth.token_file, which opens every route: put another one there",
			auth.FunctionsTokenFile)
	}
	return tokens{all, functions}, nil
}

// readToken reads the one token of the file; empty means none is wanted.
func readToken(key, file string) (string, error) {
	if file == "" {
		return "", nil
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("reading %s: %w", key, err)
	}
	token := strings.TrimSpace(string(data))
	if token == "" || strings.ContainsAny(token, " \t\r\n") {
		return "", fmt.Errorf("%s %s: it must hold one token, without white space", key, file)
	}
	return token, nil
}

var (
	errUnauthorized = errors.New("send the bearer token of this server in the Authorization header")
	// errFunctionsOnly is for those who may call streams only.
	errFunctionsOnly = fmt.Errorf("%w: this one opens the streams' own endpoints only", errUnauthorized)
)

// operatorKey marks the requests that may manage streams.
const operatorKey = "operator"

// authenticate refuses requests without a token, if one is asked for. /ping
// stays open for health checks.
func (s *Server) authenticate(c *fiber.Ctx) error {
	if c.Path() == "/ping" {
		return c.Next()
	}
	scheme, given, _ := strings.Cut(c.Get(fiber.HeaderAuthorization), " ")
	bearer := strings.EqualFold(scheme, "Bearer")
	switch {
	case s.tokens.all == "", bearer && same(given, s.tokens.all):
		c.Locals(operatorKey, true)
	case s.tokens.functions != "" && bearer && same(given, s.tokens.functions):
	default:
		return unauthorized(c, errUnauthorized)
	}
	return c.Next()
}

// operators keeps a handler from those who may call streams only.
func operators(handler fiber.Handler) fiber.Handler {
	return func(c *fiber.Ctx) error {
		if c.Locals(operatorKey) == nil {
			return unauthorized(c, errFunctionsOnly)
		}
		return handler(c)
	}
}

func unauthorized(c *fiber.Ctx, why error) error {
	c.Set(fiber.HeaderWWWAuthenticate, "Bearer")
	return why
}

// same takes as long for every token of the right length.
func same(given, token string) bool {
	return subtle.ConstantTimeCompare([]byte(given), []byte(token)) == 1
}
