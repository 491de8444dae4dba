package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"penstock/supervisor"
	"penstock/supervisor/document"
)

// errorCase is one error with the answer that it becomes.
type errorCase struct {
	name   string
	err    error
	status int
	text   string
}

func failures(byID map[string]error) error { return &supervisor.SetError{Failures: byID} }

// errorCases are all errors that reach a client. The names of the supervisor's
// begin as these do.
var errorCases = []errorCase{
	{"ErrNotFound", supervisor.ErrNotFound, 404, "Error: not found"},
	{"ErrNotFound wrapped", fmt.Errorf("stream %q: %w", "a", supervisor.ErrNotFound), 404, `Error: stream "a": not found`},
	{"ErrExists", supervisor.ErrExists, 400, "Stream already exists"},
	{"ErrExists wrapped", fmt.Errorf("creating: %w", supervisor.ErrExists), 400, "Stream already exists"},
	{"ErrInvalid", supervisor.ErrInvalid, 400, "Error: invalid"},
	{"ErrUnavailable", fmt.Errorf("%w: why", supervisor.ErrUnavailable), 503, "Error: unavailable: why"},
	{"ErrConflict", supervisor.ErrConflict, 409, "Error: changed by another request meanwhile: try again"},
	{"ErrPaused", supervisor.ErrPaused, 409, "Error: the stream is paused: resume it first"},
	{"ErrResourceType", supervisor.ErrResourceType, 400, supervisor.ErrResourceType.Error()},
	{"ErrIdle", supervisor.ErrIdle, 503, "Error: idle"},
	{"ErrBroken", supervisor.ErrBroken, 502, "Error: no answer"},
	{"ErrBusy", supervisor.ErrBusy, 429, "Error: the stream has too many calls"},
	{"ErrTimeout", supervisor.ErrTimeout, 504, "Error: the call has timed out"},
	{"ErrClosed", supervisor.ErrClosed, 503, "Error: the supervisor is shutting down"},
	{"InvalidError", &supervisor.InvalidError{Message: "no"}, 400, "Error: no"},
	{"InvalidError of many lines", &supervisor.InvalidError{Message: "a:\n\tb\r\n\nc\n"}, 400, "Error: a:; \tb; c"},
	{"LintError", &supervisor.LintError{Lints: []string{"(1,2) x", "(3,4) y"}}, 400, "Error: lint errors: (1,2) x; (3,4) y"},
	{"InUseError", &supervisor.InUseError{Streams: []string{"a", "b"}, Resources: []string{"cache/c"}}, 409,
		"Error: in use by streams a, b and resources cache/c: change or delete these first"},
	{"SetError of one kind", failures(map[string]error{"b": supervisor.ErrInvalid, "a": &supervisor.InvalidError{Message: "x\ny"}}), 400,
		"Error: stream 'a': x; y; stream 'b': invalid"},
	{"SetError with one missing", failures(map[string]error{"a": supervisor.ErrInvalid, "b": supervisor.ErrNotFound}), 404,
		"Error: stream 'a': invalid; stream 'b': not found"},
	{"SetError with a conflict", failures(map[string]error{"a": supervisor.ErrInvalid, "b": supervisor.ErrNotFound, "c": supervisor.ErrConflict}), 409,
		"Error: stream 'a': invalid; stream 'b': not found; stream 'c': changed by another request meanwhile: try again"},
	{"SetError with one unavailable", failures(map[string]error{"a": supervisor.ErrConflict, "b": supervisor.ErrUnavailable}), 503,
		"Error: stream 'a': changed by another request meanwhile: try again; stream 'b': unavailable"},
	{"SetError with the server's own", failures(map[string]error{"a": supervisor.ErrInvalid, "b": errors.New("broken")}), 500,
		"Error: stream 'a': invalid; stream 'b': broken"},
	{"SetError with one that exists", failures(map[string]error{"a": supervisor.ErrInvalid, "b": supervisor.ErrExists}), 400,
		"Error: stream 'a': invalid; stream 'b': stream already exists"},
	{"SetError with lints", failures(map[string]error{"a": supervisor.ErrUnavailable, "b": &supervisor.LintError{Lints: []string{"x"}}}), 503,
		"Error: stream 'a': unavailable; stream 'b': lint errors: x"},
	{"SetError inside another", failures(map[string]error{"a": failures(map[string]error{"b": supervisor.ErrConflict})}), 409,
		"Error: stream 'a': stream 'b': changed by another request meanwhile: try again"},

	{"document", &document.Error{Line: 2, Column: 3, Msg: "bad"}, 400, "Error: line 2, column 3: bad"},
	{"too large", &tooLargeError{10}, 413, "Error: the body is larger than 10 bytes, the server's http.max_body_bytes"},
	{"unauthorized", errUnauthorized, 401, "Error: send the bearer token of this server in the Authorization header"},
	{"no route", errNoRoute, 404, "404 page not found"},
	{"of the HTTP server", fiber.ErrRequestHeaderFieldsTooLarge, 431, "Request Header Fields Too Large"},
	{"deadline", fmt.Errorf("starting: %w", context.DeadlineExceeded), 500, "Error: starting: context deadline exceeded"},
	{"canceled", context.Canceled, 500, "Error: context canceled"},
	{"ErrFull", fmt.Errorf("creating: %w", supervisor.ErrFull), 507, "Error: creating: no space left for the state file"},
	{"ErrNoRoom", fmt.Errorf("%w: a memory limit of 1GiB does not fit", supervisor.ErrNoRoom), 507, "Error: no room: a memory limit of 1GiB does not fit"},
	{"SetError with no room", failures(map[string]error{"a": supervisor.ErrNoRoom, "b": supervisor.ErrUnavailable}), 507,
		"Error: stream 'a': no room; stream 'b': unavailable"},
	{"ErrUnwritable", supervisor.ErrUnwritable, 503, "Error: state file cannot be read or written"},
	{"disk is full", &os.PathError{Op: "mkdir", Path: "/data/run/x", Err: syscall.ENOSPC}, 507, "Error: mkdir /data/run/x: no space left on device"},
	{"quota is used up", syscall.EDQUOT, 507, "Error: disk quota exceeded"},
	{"disk is read-only", &os.PathError{Op: "mkdir", Path: "/data/run/x", Err: syscall.EROFS}, 503, "Error: mkdir /data/run/x: read-only file system"},
	{"SetError with a full disk", failures(map[string]error{"a": syscall.ENOSPC, "b": supervisor.ErrUnavailable}), 507,
		"Error: stream 'a': no space left on device; stream 'b': unavailable"},
	{"ErrNoComponent", fmt.Errorf("input %q: %w: did you mean kafka?", "kafak", supervisor.ErrNoComponent), 404, `Error: input "kafak": not found: did you mean kafka?`},
	{"ErrNoCall", supervisor.ErrNoCall, 404, "Error: there is no such call: its id is wrong, it was deleted, or its result has expired"},
	{"ErrNoResult", fmt.Errorf("%w: why", supervisor.ErrNoResult), 410, "Error: the call has no result: why"},
	{"ErrCallTooLarge", fmt.Errorf("%w: why", supervisor.ErrCallTooLarge), 413, "Error: the call is too large: why"},
	{"ErrCallbackForbidden", fmt.Errorf("%w: why", supervisor.ErrCallbackForbidden), 403, "Error: the callback is not allowed: why"},
	{"ErrCallback", fmt.Errorf("%w: why", supervisor.ErrCallback), 400, "Error: the callback's URL is not valid: why"},
	{"ErrCallsClosed", supervisor.ErrCallsClosed, 503, "Error: calls are not taken any more: the server is shutting down"},
	{"BusyError", &supervisor.BusyError{Message: "too many", After: time.Second}, 429, "Error: too many"},
	{"any other", errors.New("the runner is broken"), 500, "Error: the runner is broken"},
}

func TestStatusAndTextOfErrors(t *testing.T) {
	for _, c := range errorCases {
		t.Run(c.name, func(t *testing.T) {
			assert.Equal(t, c.status, statusOf(c.err))
			assert.Equal(t, c.text, textOf(c.err))
		})
	}
}

func TestErrorCasesHoldEveryErrorOfTheSupervisor(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "../supervisor/errors.go", nil, parser.SkipObjectResolution)
	require.NoError(t, err)
	found := 0
	ast.Inspect(file, func(n ast.Node) bool {
		var names []*ast.Ident
		switch n := n.(type) {
		case *ast.FuncDecl:
			return false
		case *ast.ValueSpec:
			names = n.Names
		case *ast.TypeSpec:
			names = []*ast.Ident{n.Name}
		}
		for _, name := range names {
			if !name.IsExported() {
				continue
			}
			found++
			assert.Condition(t, func() bool {
				for _, c := range errorCases {
					if strings.HasPrefix(c.name, name.Name) {
						return true
					}
				}
				return false
			}, "no case for supervisor.%s", name.Name)
		}
		return true
	})
	assert.NotZero(t, found)
}

func TestAnswersOfErrors(t *testing.T) {
	streams := newRecorder()
	addr := serve(t, testConfig(), streams)
	for _, c := range errorCases {
		if c.name == "LintError" {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			streams.failWith(c.err)
			got := call(t, addr, "POST", "/streams", "{}")
			assert.Equal(t, c.status, got.StatusCode)
			assert.Equal(t, c.text+"\n", got.text)
			assert.Equal(t, "text/plain; charset=utf-8", got.Header.Get("Content-Type"))
			assert.Equal(t, "nosniff", got.Header.Get("X-Content-Type-Options"))
		})
	}
}

func TestFailuresAreLoggedWithTheirStream(t *testing.T) {
	core, logged := observer.New(zap.ErrorLevel)
	streams := behind(t, http.NotFound)
	server, err := New(testConfig(), streams, zap.New(core), "", "")
	require.NoError(t, err)
	addr, err := server.Listen()
	require.NoError(t, err)
	served := make(chan error, 1)
	go func() { served <- server.Serve() }()
	t.Cleanup(func() {
		assert.NoError(t, server.Shutdown(context.Background()))
		assert.NoError(t, <-served)
	})
	streams.failWith(errors.New("the runner is broken"))
	for _, test := range []struct {
		request string
		stream  any
	}{
		{"POST /streams/a", "a"},
		{"POST /streams/a%2eb/restart", "a.b"},
		{"GET /benthos/streams/a/stats", "a"},
		{"POST /foo/post", "foo"},
		{"POST /streams", nil},
		{"POST /resources/cache/a", nil},
	} {
		method, path, _ := strings.Cut(test.request, " ")
		got := call(t, addr.String(), method, path, "{}")
		require.GreaterOrEqual(t, got.StatusCode, 500, test.request)
		entries := logged.TakeAll()
		require.Len(t, entries, 1, test.request)
		assert.Equal(t, "request failed", entries[0].Message)
		assert.Equal(t, test.stream, entries[0].ContextMap()["stream"], test.request)
	}
	assert.Equal(t, http.StatusNotFound, call(t, addr.String(), "GET", "/bar/post", "").StatusCode)
	assert.Empty(t, logged.All())
}

func TestLintAnswerHasBothKeys(t *testing.T) {
	streams := newRecorder()
	addr := serve(t, testConfig(), streams)
	streams.failWith(fmt.Errorf("wrapped: %w", &supervisor.LintError{Lints: []string{"(1,2) x <y>", "(3,4) z"}}))
	for _, path := range []string{"/streams", "/streams/a", "/resources/cache/a"} {
		got := call(t, addr, "POST", path, "{}")
		assert.Equal(t, http.StatusBadRequest, got.StatusCode)
		assert.Equal(t, "application/json", got.Header.Get("Content-Type"))
		var keys map[string][]string
		require.NoError(t, json.Unmarshal([]byte(got.text), &keys))
		want := []string{"(1,2) x <y>", "(3,4) z"}
		assert.Equal(t, map[string][]string{"linting_errors": want, "lint_errors": want}, keys)
	}
}

func TestNotFoundInUpstreamsWords(t *testing.T) {
	addr := serve(t, testConfig(), newRecorder())
	for path, want := range map[string]string{
		"/streams/a": "Stream not found\n", "/streams/a/stats": "Stream not found\n",
		"/streams/a/status": "Stream not found\n", "/streams/a/revisions": "Stream not found\n",
		"/streams/a/events": "Stream not found\n", "/streams/a/logs": "Stream not found\n",
		"/streams/a/logs?follow=true": "Stream not found\n",
		"/resources/cache/a":          "Resource not found\n", "/a": "404 page not found\n",
	} {
		got := call(t, addr, "GET", path, "")
		assert.Equal(t, http.StatusNotFound, got.StatusCode, path)
		assert.Equal(t, want, got.text, path)
	}
}
