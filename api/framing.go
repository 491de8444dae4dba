package api

import (
	"bytes"

	"github.com/gofiber/fiber/v2"
)

var errAmbiguous = fiber.NewError(fiber.StatusBadRequest,
	"Error: the request does not say clearly where its body ends: send one Content-Length or one Transfer-Encoding")

// refuseAmbiguity refuses a request whose body's end is a matter of opinion.
// A proxy in front may be of another, and then what is a body to the one is a
// request to the other.
func refuseAmbiguity(c *fiber.Ctx) error {
	var lengths, encodings int
	for line := range bytes.SplitSeq(c.Request().Header.RawHeaders(), []byte("\n")) {
		name, _, _ := bytes.Cut(line, []byte(":"))
		switch {
		case bytes.EqualFold(bytes.TrimSpace(name), []byte(fiber.HeaderContentLength)):
			lengths++
		case bytes.EqualFold(bytes.TrimSpace(name), []byte(fiber.HeaderTransferEncoding)):
			encodings++
		}
	}
	if lengths+encodings > 1 {
		bodyOf(c).ambiguous = true
		return errAmbiguous
	}
	return c.Next()
}
