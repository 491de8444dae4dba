package supervisor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/semaphore"

	"penstock/supervisor/calls"
	"penstock/supervisor/catalogue"
	"penstock/supervisor/document"
	"penstock/supervisor/events"
	"penstock/supervisor/process"
	"penstock/supervisor/store"
	"penstock/supervisor/telemetry"
)

// Supervisor keeps a set of streams running.
type Supervisor struct {
	cfg         Config
	log         *zap.Logger
	launcher    *process.Launcher
	environment map[string]string
	resources   *resourceSet
	templates   templateSet
	dataDirLock *os.File
	store       *store.Store
	hub         *events.Hub
	telemetry   *telemetry.Telemetry
	confiner    *confiner
	calls       *calls.Calls
	installed   *catalogue.Installed
	libraries   sync.Mutex // of what the runners say of themselves, one at a time
	sockets     *sockets
	pool        *pool
	thrift      *thrift

	// stored is what the store held at the start, until Start has taken it.
	stored store.State
	// declaring is held while files are put into force.
	declaring sync.Mutex
	declared  *declaredFiles
	strays    strayList
	// cleared is closed once nothing that an earlier supervisor left is in the
	// way of new runners.
	cleared chan struct{}

	// hostStart is held while the resource host is looked for, and sharing while
	// it is told of resources.
	hostStart, sharing sync.Mutex
	// hostNudge has it looked at once whether the host is needed.
	hostNudge chan struct{}

	// starts bounds how many runners are being forked at once.
	starts *semaphore.Weighted
	// bulk is held by a change of many streams, one at a time.
	bulk *semaphore.Weighted
	// watchers are the goroutines that follow runners.
	watchers sync.WaitGroup

	// root ends when the supervisor is being closed.
	root    context.Context
	endRoot context.CancelFunc

	mu      sync.RWMutex
	closed  bool
	streams map[string]*stream
}

// Change says how a stream is to be changed.
type Change struct {
	// Chilled accepts configs with lint errors.
	Chilled bool
	// AllowTests accepts a `tests` section, as config files may have.
	AllowTests bool
	// Timeout bounds the stop of what is replaced; 0 means the configured one.
	Timeout time.Duration

	// origin is who makes the change; empty means the API.
	origin store.Origin
}

// New makes a supervisor whose streams Start brings to life. It takes the data
// folder for itself: a second supervisor there is an error, as is a store that
// cannot be read.
func New(cfg Config, log *zap.Logger) (_ *Supervisor, err error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	dataDir, err := filepath.Abs(cfg.DataDir)
	if err != nil {
		return nil, fmt.Errorf("data_dir %q: %w", cfg.DataDir, err)
	}
	cfg.DataDir = dataDir
	if cfg.Runner, err = runnerPath(cfg.Runner); err != nil {
		return nil, err
	}
	s := &Supervisor{
		cfg:         cfg,
		log:         log,
		environment: environment(),
		resources:   newResourceSet(),
		hub:         events.NewHub(keptEvents),
		telemetry:   telemetry.New(),
		sockets:     newSockets(),
		cleared:     make(chan struct{}),
		starts:      semaphore.NewWeighted(int64(cfg.Concurrency)),
		bulk:        semaphore.NewWeighted(1),
		hostNudge:   make(chan struct{}, 1),
		strays:      strayList{ids: map[string]bool{}},
		streams:     map[string]*stream{},
	}
	if s.confiner, err = newConfiner(cfg); err != nil {
		return nil, err
	}
	if s.dataDirLock, err = lockDataDir(dataDir); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = s.dataDirLock.Close()
		}
	}()
	if s.launcher, err = process.NewLauncher(cfg.Runner, filepath.Join(dataDir, "run"), cfg.Timeouts.Start, s.telemetry.RPC); err != nil {
		return nil, err
	}
	if s.store, err = store.Open(s.storePath()); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = s.store.Close()
		}
	}()
	if s.stored, err = s.store.Load(); err != nil {
		return nil, err
	}
	if s.calls, err = calls.Open(s.callsPath(), cfg.Calls, callable{s}, s.telemetry, log); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = s.calls.Close(context.Background())
		}
	}()
	s.telemetry.WatchCalls(s.calls.Figures)
	if err := s.confiner.open(cfg, log); err != nil {
		return nil, err
	}
	if s.installed, err = newInstalled(cfg, s.launcher.Binary(), s.confiner, log); err != nil {
		return nil, err
	}
	s.declared = &declaredFiles{byKey: s.stored.Declared}
	s.root, s.endRoot = context.WithCancel(context.Background())
	s.pool = newPool(s)
	s.thrift = beThrifty()
	return s, nil
}

// keptEvents is how many transitions are kept for those who were away.
const keptEvents = 4096

// beginBulk waits for its turn to change many streams. What it prepares ends
// with the returned context when the supervisor is closed; end gives the turn
// to the next.
func (s *Supervisor) beginBulk(ctx context.Context) (bulk context.Context, end func(), err error) {
	bulk, cancel := context.WithCancel(ctx)
	undo := context.AfterFunc(s.root, cancel)
	if err := s.bulk.Acquire(bulk, 1); err != nil {
		undo()
		cancel()
		if s.root.Err() != nil {
			return nil, nil, ErrClosed
		}
		return nil, nil, err
	}
	return bulk, func() {
		s.bulk.Release(1)
		undo()
		cancel()
	}, nil
}

// whyCut names the reason of a change that the supervisor's end cut short.
func (s *Supervisor) whyCut(err error) error {
	if err != nil && s.root.Err() != nil && errors.Is(err, context.Canceled) {
		return ErrClosed
	}
	return err
}

func besideMyself(name string) (string, error) {
	executable, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("finding the folder of the runner binary: %w: name it with --runner", err)
	}
	return filepath.Join(filepath.Dir(executable), name), nil
}

// environment is the supervisor's own: what ${VAR} in configs resolves to.
func environment() map[string]string {
	env := map[string]string{}
	for _, entry := range os.Environ() {
		if name, value, ok := strings.Cut(entry, "="); ok && name != "" {
			env[name] = value
		}
	}
	return env
}

// Create makes and starts a stream. It fails with ErrExists, with an error
// that wraps ErrInvalid, or when no runner can be started.
func (s *Supervisor) Create(ctx context.Context, id string, doc *document.Document, ch Change) error {
	sp, err := newSpec(doc, ch.Chilled, ch.AllowTests, s.confiner.allowed)
	if err != nil {
		return err
	}
	begun := time.Now()
	st, err := s.reserve(ctx, id)
	if err != nil {
		return err
	}
	if err := s.createIn(ctx, st, sp, orAPI(ch.origin), nil, false); err != nil {
		return err
	}
	s.telemetry.Created(time.Since(begun))
	return st.replicas.settled(ctx)
}

// createIn makes the stream of an id that was reserved for it, of an instance
// where that is prepared already. With kept the store has the stream.
func (s *Supervisor) createIn(ctx context.Context, st *stream, sp spec, origin store.Origin, ready *instance, kept bool) error {
	// The actor has nothing else to do yet and takes it at once; were it not to,
	// the id would stay taken.
	wait, err := st.submit(context.Background(), func(ctx context.Context) error {
		return st.create(ctx, sp, origin, ready, kept)
	})
	if err != nil {
		if ready != nil {
			ready.discard()
		}
		return err
	}
	return wait(ctx)
}

// Update replaces a stream's config. When the new one cannot be built the old
// stream runs on and the error wraps ErrInvalid.
func (s *Supervisor) Update(ctx context.Context, id string, doc *document.Document, ch Change) error {
	return s.revise(ctx, id, ch, func(spec) (spec, error) { return newSpec(doc, ch.Chilled, ch.AllowTests, s.confiner.allowed) })
}

// Patch merges patch into a stream's config: objects merge, everything else
// replaces. Two patches at once are applied one after the other.
func (s *Supervisor) Patch(ctx context.Context, id string, patch *document.Document, ch Change) error {
	return s.revise(ctx, id, ch, func(old spec) (spec, error) {
		merged, err := old.doc.Merge(patch)
		if err != nil {
			return spec{}, &InvalidError{err.Error()}
		}
		return newSpec(merged, ch.Chilled, old.allowTests, s.confiner.allowed)
	})
}

func (s *Supervisor) revise(ctx context.Context, id string, ch Change, revise func(spec) (spec, error)) error {
	st, err := s.find(id)
	if err != nil {
		return err
	}
	err = st.do(ctx, func(ctx context.Context) error {
		return st.update(ctx, func(old spec) (revised, error) {
			sp, err := revise(old)
			return revised{sp, orAPI(ch.origin)}, err
		}, s.stopTimeout(ch))
	})
	if err != nil {
		return err
	}
	return st.replicas.settled(ctx)
}

func (s *Supervisor) stopTimeout(ch Change) time.Duration {
	if ch.Timeout > 0 {
		return ch.Timeout
	}
	return s.cfg.Timeouts.Stop
}

// Delete stops a stream and removes it. It ends within timeout (0 means the
// configured one), by killing the runner if it must. A stream that the store
// cannot forget runs on.
func (s *Supervisor) Delete(ctx context.Context, id string, timeout time.Duration) error {
	st, err := s.find(id)
	if err != nil {
		return err
	}
	err = s.store.Update(func(tx *store.Tx) error {
		if !s.owns(st) {
			return fmt.Errorf("stream %q: %w", id, ErrNotFound)
		}
		return s.deleteFamily(tx, st)
	})
	if err != nil {
		return err
	}
	return s.removeAll(ctx, []*stream{st}, s.stopTimeout(Change{Timeout: timeout}))[id]
}
