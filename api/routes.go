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
}

// apiRoutes are all paths of the API. What they do not take is the gateway's.
func (s *Server) apiRoutes() []route {
	return []route{
		{"/ping", "Ping me.", s.ping},
		{"/version", "Returns the service version.", s.serviceVersion},
		{"/endpoints", "Returns this map of endpoints.", s.endpoints},
		{"/ready", "Returns 200 OK if the inputs and outputs of all running streams are connected, otherwise a 503 is returned that names the others. If there are no active streams 200 is returned.", s.ready},
		{"/streams", "GET: List all streams along with their status and uptimes. POST: Post an object of stream ids to stream configs, all streams will be replaced by this new set.", s.streamSet},
		{"/streams/:id", "Perform CRUD operations on streams, supporting POST (Create), GET (Read), PUT (Update), PATCH (Patch update) and DELETE (Delete).", s.stream},
		{"/streams/:id/stats", "GET a structured JSON object containing metrics for the stream.", s.streamStats},
		{"/streams/:id/status", "GET a structured JSON object that tells the state of the stream, why it is in it, its connections and how its last process ended.", s.streamStatus},
		{"/streams/:id/pause", "POST: End the process of the stream and keep its definition. It stays paused when the server is started again.", s.pause},
		{"/streams/:id/resume", "POST: Start a paused stream.", s.resume},
		{"/streams/:id/restart", "POST: Replace the process of the stream by a new one with the same config.", s.restart},
		{"/streams/:id/revisions", "GET the last ten configs of the stream, the newest first.", s.revisions},
		{"/streams/:id/rollback", "POST with ?revision=N: Put an earlier config of the stream into force.", s.rollback},
		{"/streams/:id/events", "GET the transitions of the stream as server-sent events.", s.streamEvents},
		{"/streams/:id/logs", "GET the log of the stream; ?follow=true goes on with what comes, ?tail, ?level, ?source and ?format say what of it.", s.streamLogs},
		{"/streams/:id/log-level", "PUT the least severe level that the stream logs: debug, info, warn or error.", s.logLevel},
		{"/events", "GET the transitions of all streams as server-sent events.", s.unlessServed(s.allEvents)},
		{"/metrics", "GET the metrics of all streams and of the server, for Prometheus.", s.unlessServed(s.metrics)},
		{"/resources", "GET: List all resources with the streams that use them.", s.resourceList},
		{"/resources/:type/:id", "POST: Create or replace a given resource configuration of a specified type. Types supported are `cache`, `input`, `output`, `processor` and `rate_limit`. GET and DELETE: read it, remove it.", s.resource},
	}
}

func (s *Server) routes() {
	s.app.Use(recover.New(), s.belowRoot, trackBody, s.authenticate)
	for _, r := range s.apiRoutes() {
		s.app.All(r.path, r.handler)
	}
	s.app.All("/*", s.gateway)
}

// unlessServed leaves the path to a stream that serves it: without a prefix
// before their endpoints, streams may have paths that upstream leaves to them.
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
