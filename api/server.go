package api

import (
	"context"
	"encoding/json"
	"net/http"
	"net/netip"
	"runtime"
	"time"

	"github.com/gofiber/fiber/v2"
	"go.uber.org/zap"

	"penstock/rpc/processors"
	"penstock/supervisor"
	"penstock/supervisor/calls"
	"penstock/supervisor/catalogue"
	"penstock/supervisor/document"
	"penstock/supervisor/events"
	"penstock/supervisor/logs"
	"penstock/supervisor/stats"
)

// Streams is what the server needs of the supervisor.
type Streams interface {
	Create(ctx context.Context, id string, doc *document.Document, ch supervisor.Change) error
	Update(ctx context.Context, id string, doc *document.Document, ch supervisor.Change) error
	Patch(ctx context.Context, id string, patch *document.Document, ch supervisor.Change) error
	Delete(ctx context.Context, id string, timeout time.Duration) error
	ReplaceAll(ctx context.Context, set map[string]*document.Document, ch supervisor.Change) error
	Get(id string) (supervisor.Snapshot, error)
	List() []supervisor.Snapshot
	Ready(ctx context.Context) []supervisor.Fault
	Stats(ctx context.Context, id string) (stats.Report, error)

	Pause(ctx context.Context, id string, ch supervisor.Change) error
	Resume(ctx context.Context, id string, ch supervisor.Change) error
	Restart(ctx context.Context, id string, ch supervisor.Change) error
	Revisions(id string) ([]supervisor.Revision, error)
	Rollback(ctx context.Context, id string, revision uint64, ch supervisor.Change) error

	Status(ctx context.Context, id string) (supervisor.Status, error)
	Replicated(id string) bool
	Subscribe(id, lastEventID string) (*events.Subscription, error)
	Log(id string, number int, q logs.Query) (*logs.Reader, error)
	SetLogLevel(ctx context.Context, id, level string) error
	Metrics() http.Handler
	RunnerVersion() string
	RunnerVersions() map[string]string
	Components(ctx context.Context, class, runner string) ([]catalogue.Entry, error)
	Component(ctx context.Context, class, name, runner string) (catalogue.Schema, error)
	ConfigSchema(ctx context.Context, runner string) (json.RawMessage, error)

	PutResource(ctx context.Context, typ, id string, doc *document.Document, ch supervisor.Change) error
	Resources() []supervisor.Resource
	GetResource(typ, id string) (supervisor.Resource, error)
	DeleteResource(ctx context.Context, typ, id string) error

	Asynchronous(stream string) bool
	MaxCallBody() int
	Submit(stream string, r calls.Request) (calls.Call, error)
	Call(ctx context.Context, id string) (calls.Call, error)
	CallAnswer(id string) (calls.Call, calls.Answer, error)
	Calls(q calls.Query) (list []calls.Call, more bool, err error)
	ForgetCall(id string) error

	Endpoints() []supervisor.Endpoint
	Owner(path string) (string, error)
	Function(ctx context.Context, id string, call supervisor.Call) (supervisor.Function, error)
}

// headerBytes bounds the headers of one request. It is also the size of the
// buffer of each connection that is being read.
const headerBytes = 32 << 10

// Server serves the API and the gateway on one listener, and the gateway alone
// on another if it is asked to.
type Server struct {
	cfg     Config
	streams Streams
	log     *zap.Logger
	version string
	built   string
	tokens  tokens
	bounds  bounds
	// proxies may say who a client is.
	proxies []netip.Prefix

	app *fiber.App
	// functions serves the gateway alone.
	functions *fiber.App
	listeners []served
	// processors is told what the server does.
	processors *processors.Governor

	// life ends when Shutdown begins.
	life    context.Context
	endLife context.CancelFunc
}

// New makes a server. It reads the token files, if any are configured.
func New(cfg Config, streams Streams, log *zap.Logger, version, built string) (*Server, error) {
	return newServer(cfg, streams, log, version, built, usualBounds())
}

func newServer(cfg Config, streams Streams, log *zap.Logger, version, built string, b bounds) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	tokens, err := readTokens(cfg.Auth)
	if err != nil {
		return nil, err
	}
	proxies, err := cfg.trusted()
	if err != nil {
		return nil, err
	}
	s := &Server{
		cfg: cfg, streams: streams, log: log, version: version, built: built, tokens: tokens, bounds: b, proxies: proxies,
		processors: processors.New(runtime.GOMAXPROCS(0)),
	}
	s.life, s.endLife = context.WithCancel(context.Background())
	s.app = s.newApp(s.routes)
	s.functions = s.newApp(s.functionsRoutes)
	return s, nil
}

// newApp makes one of the server's apps.
func (s *Server) newApp(routes func(*fiber.App)) *fiber.App {
	app := fiber.New(fiber.Config{
		DisableStartupMessage: true,
		StrictRouting:         true,
		CaseSensitive:         true,
		ReadBufferSize:        headerBytes,
		ReadTimeout:           s.bounds.head,
		IdleTimeout:           s.bounds.idle,
		// Bodies are streamed to the runners; the API's own handlers bound
		// what they read. Of one that is longer than this, handlers are told
		// before it is there, so that they bound its pauses as well.
		BodyLimit:                    1,
		StreamRequestBody:            true,
		DisablePreParseMultipartForm: true,
		ErrorHandler:                 s.answerError,
	})
	routes(app)
	// Only this makes the routes known to an app that Fiber does not serve.
	app.Handler()
	server := app.Server()
	server.Handler = guard(server.Handler, fiber.DefaultMethods)
	s.bounds.apply(server)
	return app
}

// waiting is the context of what a request waits for. It has no end: what a
// request begins is bounded by the supervisor's own timeouts, and the server
// underneath does not tell when a client has gone.
func waiting() context.Context { return context.Background() }
