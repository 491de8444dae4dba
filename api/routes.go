package api

import (
	"net/url"
	"slices"
	"strings"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/middleware/recover"

	"penstock/supervisor"
)

// route is one path of the API with what /endpoints says of it.
type route struct {
	path        string
	description string
	handler     fiber.Handler
	who         access
}

// access says whom a path of the API answers.
type access int

const (
	// forOperators is for whoever may manage streams.
	forOperators access = iota
	// forStreamsFirst is left to a stream that serves the path: without a
	// prefix before their endpoints, streams may have paths that upstream
	// leaves to them.
	forStreamsFirst
	// forCallers is for whoever may call streams, on every listener.
	forCallers
	// forEverybody is not protected.
	forEverybody
)

// apiRoutes are all paths of the API. What they do not take is the gateway's.
func (s *Server) apiRoutes() []route {
	return []route{
		{"/ping", "Ping me.", s.ping, forEverybody},
		{"/version", "Returns the service version.", s.serviceVersion, forOperators},
		{"/endpoints", "Returns this map of endpoints.", s.endpoints, forOperators},
		{"/ready", "Returns 200 OK if the inputs and outputs of all running streams are connected, otherwise a 503 is returned that names the others. If there are no active streams 200 is returned.", s.ready, forOperators},
		{"/streams", "GET: List all streams along with their status and uptimes. POST: Post an object of stream ids to stream configs, all streams will be replaced by this new set.", s.streamSet, forOperators},
		{"/streams/:id", "Perform CRUD operations on streams, supporting POST (Create), GET (Read), PUT (Update), PATCH (Patch update) and DELETE (Delete).", s.stream, forOperators},
		{"/streams/:id/stats", "GET a structured JSON object containing metrics for the stream.", s.streamStats, forOperators},
		{"/streams/:id/status", "GET a structured JSON object that tells the state of the stream, why it is in it, its connections and how its last process ended.", s.streamStatus, forOperators},
		{"/streams/:id/pause", "POST: End the process of the stream and keep its definition. It stays paused when the server is started again.", s.pause, forOperators},
		{"/streams/:id/resume", "POST: Start a paused stream.", s.resume, forOperators},
		{"/streams/:id/restart", "POST: Replace the process of the stream by a new one with the same config.", s.restart, forOperators},
		{"/streams/:id/revisions", "GET the last ten configs of the stream, the newest first.", s.revisions, forOperators},
		{"/streams/:id/rollback", "POST with ?revision=N: Put an earlier config of the stream into force.", s.rollback, forOperators},
		{"/streams/:id/events", "GET the transitions of the stream as server-sent events.", s.streamEvents, forOperators},
		{"/streams/:id/logs", "GET the log of the stream; ?follow=true goes on with what comes, ?tail, ?level, ?source and ?format say what of it.", s.streamLogs, forOperators},
		{"/streams/:id/log-level", "PUT the least severe level that the stream logs: debug, info, warn or error.", s.logLevel, forOperators},
		{"/events", "GET the transitions of all streams as server-sent events.", s.allEvents, forStreamsFirst},
		{"/metrics", "GET the metrics of all streams and of the server, for Prometheus.", s.metrics, forStreamsFirst},
		{"/calls", "GET the asynchronous calls, the newest first; ?stream, ?state, ?limit and ?before say which.", s.callSet, forStreamsFirst},
		{"/calls/:call", "GET what has become of an asynchronous call, 202 until it has ended, and with ?wait=30s once it has; DELETE cancels it and drops its result.", s.callsOf(s.call), forCallers},
		{"/calls/:call/result", "GET what the stream has answered to an asynchronous call, as it was answered.", s.callsOf(s.callResult), forCallers},
		{"/components", "GET the components that the installed runners carry; ?class and ?runner say which.", s.componentList, forStreamsFirst},
		{"/components/schema", "GET the JSON Schema of a stream's config, of all components; with ?runner of those of one runner.", s.configSchema, forStreamsFirst},
		{"/components/:class/:name", "GET the JSON Schema of a component's config.", s.component, forStreamsFirst},
		{"/resources", "GET: List all resources with the streams that use them.", s.resourceList, forOperators},
		{"/resources/:type/:id", "POST: Create or replace a given resource configuration of a specified type. Types supported are `cache`, `input`, `output`, `processor` and `rate_limit`. GET and DELETE: read it, remove it.", s.resource, forOperators},
	}
}

// routes makes an app serve the API and the gateway.
func (s *Server) routes(app *fiber.App) { s.serve(app, operators) }

// functionsRoutes makes an app serve the gateway alone. What is the API's on
// the other app is nothing here, rather than a stream's that is called
// "streams": a path means the same on both, or nothing.
func (s *Server) functionsRoutes(app *fiber.App) {
	s.serve(app, func(fiber.Handler) fiber.Handler {
		return func(*fiber.Ctx) error { return errNoRoute }
	})
}

// serve makes an app serve the paths of the API as protect has it, and
// everything else by the gateway.
func (s *Server) serve(app *fiber.App, protect func(fiber.Handler) fiber.Handler) {
	app.Use(recover.New(), s.belowRoot, s.trackBody, s.authenticate)
	for _, r := range s.apiRoutes() {
		handler := r.handler
		if r.who != forEverybody && r.who != forCallers {
			handler = protect(handler)
		}
		if r.path != "/ping" {
			handler = s.beside(handler)
		}
		if r.who == forStreamsFirst {
			handler = s.unlessServed(handler)
		}
		app.All(r.path, handler)
	}
	app.All("/*", s.gateway)
}

// beside is for a handler that does something else than pass a call on.
func (s *Server) beside(handler fiber.Handler) fiber.Handler {
	return func(c *fiber.Ctx) error {
		s.processors.Other()
		return handler(c)
	}
}

// unlessServed leaves the path to a stream that serves it.
func (s *Server) unlessServed(handler fiber.Handler) fiber.Handler {
	return func(c *fiber.Ctx) error {
		path := c.Path()
		if slices.ContainsFunc(s.streams.Endpoints(), func(e supervisor.Endpoint) bool { return e.Path == path }) {
			return s.gateway(c)
		}
		return handler(c)
	}
}

const belowKey = "below"

// belowRoot answers every path below the root path as well, as upstream does.
// A stream that is called like the root path keeps its endpoints.
func (s *Server) belowRoot(c *fiber.Ctx) error {
	if s.cfg.RootPath == "" || c.Locals(belowKey) != nil {
		return c.Next()
	}
	rest, below := strings.CutPrefix(string(c.Request().Header.RequestURI()), s.cfg.RootPath)
	if !below || !strings.HasPrefix(rest, "/") {
		return c.Next()
	}
	if _, err := s.streams.Get(strings.TrimPrefix(s.cfg.RootPath, "/")); err == nil {
		return c.Next()
	}
	c.Locals(belowKey, true)
	c.Request().SetRequestURI(rest)
	c.Path(string(c.Request().URI().PathOriginal()))
	return c.RestartRouting()
}

// param is a path parameter, decoded and safe to keep.
func param(c *fiber.Ctx, name string) string {
	raw := strings.Clone(c.Params(name))
	if decoded, err := url.PathUnescape(raw); err == nil {
		return decoded
	}
	return raw
}
