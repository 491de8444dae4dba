package api

import (
	"errors"
	"math"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/gofiber/fiber/v2"
	"go.uber.org/zap"

	"penstock/supervisor"
	"penstock/supervisor/document"
)

// lintAnswer carries the lints under the key that upstream answers with and
// under the one that it documents.
type lintAnswer struct {
	LintingErrors []string `json:"linting_errors"`
	LintErrors    []string `json:"lint_errors"`
}

// ofStream gives a stream that does not exist upstream's words. The errors of
// a set name each stream and stay as they are.
func ofStream(err error) error {
	var set *supervisor.SetError
	if errors.Is(err, supervisor.ErrNotFound) && !errors.As(err, &set) {
		return fiber.NewError(fiber.StatusNotFound, "Stream not found")
	}
	return err
}

// errNoRoute is upstream's answer to a path that nothing serves.
var errNoRoute = fiber.NewError(fiber.StatusNotFound, "404 page not found")

// statusOf is the one place where errors become statuses. What a caller did
// is 4xx, what the server could not do is 5xx.
func statusOf(err error) int {
	var (
		set      *supervisor.SetError
		inUse    *supervisor.InUseError
		fromHTTP *fiber.Error
		yaml     *document.Error
		tooLarge *tooLargeError
		busy     *supervisor.BusyError
	)
	switch {
	case errors.As(err, &set):
		return statusOfSet(set)
	case errors.As(err, &tooLarge), errors.Is(err, supervisor.ErrCallTooLarge):
		return fiber.StatusRequestEntityTooLarge
	case errors.As(err, &busy):
		return fiber.StatusTooManyRequests
	case isAny(err, supervisor.ErrFull, supervisor.ErrNoRoom, syscall.ENOSPC, syscall.EDQUOT):
		return fiber.StatusInsufficientStorage
	case isAny(err, supervisor.ErrUnwritable, syscall.EROFS):
		return fiber.StatusServiceUnavailable
	case errors.As(err, &inUse), isAny(err, supervisor.ErrConflict, supervisor.ErrPaused):
		return fiber.StatusConflict
	case isAny(err, supervisor.ErrInvalid, supervisor.ErrExists, supervisor.ErrCallback), errors.As(err, &yaml):
		return fiber.StatusBadRequest
	case errors.Is(err, supervisor.ErrCallbackForbidden):
		return fiber.StatusForbidden
	case errors.Is(err, supervisor.ErrNoResult):
		return fiber.StatusGone
	case isAny(err, supervisor.ErrNotFound, supervisor.ErrNoCall, supervisor.ErrNoComponent):
		return fiber.StatusNotFound
	case errors.Is(err, supervisor.ErrIdle):
		return fiber.StatusServiceUnavailable
	case errors.Is(err, supervisor.ErrBusy):
		return fiber.StatusTooManyRequests
	case errors.Is(err, supervisor.ErrTimeout):
		return fiber.StatusGatewayTimeout
	case errors.Is(err, supervisor.ErrBroken):
		return fiber.StatusBadGateway
	case isAny(err, supervisor.ErrUnavailable, supervisor.ErrClosed, supervisor.ErrCallsClosed):
		return fiber.StatusServiceUnavailable
	case errors.Is(err, errUnauthorized):
		return fiber.StatusUnauthorized
	case errors.As(err, &fromHTTP):
		return fromHTTP.Code
	}
	return fiber.StatusInternalServerError
}

func isAny(err error, targets ...error) bool {
	return slices.ContainsFunc(targets, func(target error) bool { return errors.Is(err, target) })
}

// statusOfSet is the worst status of the set's failures.
func statusOfSet(set *supervisor.SetError) int {
	worst := fiber.StatusBadRequest
	for _, failure := range set.Failures {
		worst = max(worst, statusOf(failure))
	}
	return worst
}

// textOf is what the answer says, with upstream's words where clients may
// know them.
func textOf(err error) string {
	var (
		set      *supervisor.SetError
		fromHTTP *fiber.Error
	)
	switch {
	case errors.As(err, &set):
		// Each stream is to be named.
	case errors.As(err, &fromHTTP):
		if strings.HasPrefix(fromHTTP.Message, "error when reading request") {
			// The parser's own text repeats the headers, secrets and all.
			return "Error: the request cannot be read: it is not valid HTTP"
		}
		if fromHTTP.Code == fiber.StatusRequestTimeout {
			return overdueText
		}
		return fromHTTP.Message
	case errors.Is(err, supervisor.ErrExists):
		return "Stream already exists"
	case errors.Is(err, supervisor.ErrResourceType):
		return err.Error()
	}
	return "Error: " + strings.Join(strings.FieldsFunc(err.Error(), func(r rune) bool { return r == '\n' || r == '\r' }), "; ")
}

// streamOf is the id of the stream whose path was asked for, its own endpoints
// included; empty for none.
func (s *Server) streamOf(c *fiber.Ctx) string {
	switch route := c.Route().Path; {
	case strings.HasPrefix(route, "/streams/:id"):
		return param(c, "id")
	case route == "/*":
		path, err := pathOf(c)
		if err != nil {
			return ""
		}
		if id, err := s.streams.Owner(path); err == nil {
			return id
		}
	}
	return ""
}

// answerError is fiber's error handler.
func (s *Server) answerError(c *fiber.Ctx, err error) error {
	status := statusOf(err)
	if status >= fiber.StatusInternalServerError {
		fields := []zap.Field{zap.String("method", c.Method()), zap.String("path", c.Path()), zap.Error(err)}
		if id := s.streamOf(c); id != "" {
			fields = append(fields, zap.String("stream", id))
		}
		s.log.Error("request failed", fields...)
	}
	c.Status(status)
	var later interface{ RetryAfter() time.Duration }
	if errors.As(err, &later) {
		c.Set(fiber.HeaderRetryAfter, strconv.Itoa(int(math.Ceil(later.RetryAfter().Seconds()))))
	}
	var (
		lint *supervisor.LintError
		set  *supervisor.SetError
	)
	if errors.As(err, &lint) && !errors.As(err, &set) {
		return c.JSON(lintAnswer{LintingErrors: lint.Lints, LintErrors: lint.Lints})
	}
	c.Set(fiber.HeaderContentType, fiber.MIMETextPlainCharsetUTF8)
	c.Set(fiber.HeaderXContentTypeOptions, "nosniff")
	return c.SendString(textOf(err) + "\n")
}
