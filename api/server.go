package api

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/gofiber/fiber/v2"
	"go.uber.org/zap"

	"penstock/supervisor"
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
	Subscribe(id, lastEventID string) (*events.Subscription, error)
	Log(id string, q logs.Query) (*logs.Reader, error)
	SetLogLevel(ctx context.Context, id, level string) error
	Metrics() http.Handler
	RunnerVersion() string

	PutResource(ctx context.Context, typ, id string, doc *document.Document, ch supervisor.Change) error
	Resources() []supervisor.Resource
	GetResource(typ, id string) (supervisor.Resource, error)
	DeleteResource(ctx context.Context, typ, id string) error

	Endpoints() []supervisor.Endpoint
	Owner(r *http.Request) (string, error)
	Function(ctx context.Context, id, method string) (transport http.RoundTripper, release func(), err error)
}

// headerBytes bounds the headers of one request. It is also the size of the
// buffer of each connection that is being read.
const headerBytes = 32 << 10

// Server serves the API and the gateway on one listener.
type Server struct {
	cfg      Config
	streams  Streams
	log      *zap.Logger
	version  string
	built    string
	token    string
	app      *fiber.App
	listener net.Listener

	// life ends when Shutdown begins.
	life    context.Context
	endLife context.CancelFunc
}

// New makes a server. It reads the token file, if one is configured.
func New(cfg Config, streams Streams, log *zap.Logger, version, built string) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	token, err := readToken(cfg.Auth.TokenFile)
	if err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, streams: streams, log: log, version: version, built: built, token: token}
	s.life, s.endLife = context.WithCancel(context.Background())
	s.app = fiber.New(fiber.Config{
		DisableStartupMessage: true,
		StrictRouting:         true,
		CaseSensitive:         true,
		ReadBufferSize:        headerBytes,
		// Bodies are streamed to the runners; the API's own handlers bound
		// what they read.
		StreamRequestBody:            true,
		DisablePreParseMultipartForm: true,
		ErrorHandler:                 s.answerError,
	})
	s.routes()
	s.app.Server().Handler = guard(s.app.Server().Handler, fiber.DefaultMethods)
	return s, nil
}

// Listen takes the address and returns it with the port that was chosen.
func (s *Server) Listen() (net.Addr, error) {
	listener, err := net.Listen("tcp", s.cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("listening on http.listen %s: %w", s.cfg.Listen, err)
	}
	s.listener = listener
	return listener.Addr(), nil
}

// Serve answers requests until Shutdown. Listen comes first.
func (s *Server) Serve() error {
	if err := s.app.Listener(s.listener); err != nil {
		return fmt.Errorf("serving HTTP: %w", err)
	}
	return nil
}

// Shutdown stops accepting connections at once and waits for the requests
// that are being answered, until the context ends. What would not end by
// itself is ended: events, logs that are followed, websockets, and what waits
// for a stream's next message.
//
// Other requests to streams end when their runners do: where these are to be
// stopped, the supervisor is to be closed first.
func (s *Server) Shutdown(ctx context.Context) error {
	s.endLife()
	if err := s.app.ShutdownWithContext(ctx); err != nil {
		return fmt.Errorf("ending HTTP requests: %w", err)
	}
	return nil
}

// waiting is the context of what a request waits for. It has no end: what a
// request begins is bounded by the supervisor's own timeouts, and the server
// underneath does not tell when a client has gone.
func waiting() context.Context { return context.Background() }
