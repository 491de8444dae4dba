package process

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"

	"penstock/rpc"
)

const (
	// maxSocketPath is the length of a unix socket's path that every platform
	// takes: macOS allows the least.
	maxSocketPath = 103
	// socketTail is how much a socket's path adds to that of the run folder:
	// the runner's folder and the name that go-plugin gives the socket.
	socketTail = len("/r0123456789/plugin0123456789")
)

// Launcher starts runners.
type Launcher struct {
	binary       string
	runDir       string
	startTimeout time.Duration
	observe      Observer
}

// Observer is told of every call to a runner when it is over: the method's
// name, and the error as gRPC gave it. It is called from many goroutines.
type Observer func(method string, took time.Duration, err error)

// NewLauncher makes a Launcher of the runner at binary, which must be
// executable. The runners' folders are made in runDir; what an earlier
// supervisor left there is kept for Adopt, LastExit and EndOthers. observe may
// be nil.
func NewLauncher(binary, runDir string, startTimeout time.Duration, observe Observer) (*Launcher, error) {
	path, err := exec.LookPath(binary)
	if err != nil {
		return nil, fmt.Errorf("runner binary %q cannot be executed: %w: build it with `make build` or name it with --runner", binary, err)
	}
	if path, err = filepath.Abs(path); err != nil {
		return nil, fmt.Errorf("runner binary %q: %w", binary, err)
	}
	if len(runDir)+socketTail > maxSocketPath {
		return nil, fmt.Errorf("the path %q is too long for unix sockets: choose a data_dir whose path is at least %d characters shorter",
			runDir, len(runDir)+socketTail-maxSocketPath)
	}
	if err := os.MkdirAll(runDir, 0o700); err != nil {
		return nil, fmt.Errorf("making the run folder: %w", err)
	}
	return &Launcher{binary: path, runDir: runDir, startTimeout: startTimeout, observe: observe}, nil
}

// Binary is the path of the runner's binary.
func (l *Launcher) Binary() string { return l.binary }

// Start starts a runner of Binary in its confinement and connects to it. The
// context bounds the start only: once Start has returned, the process lives until
// it is closed, killed or exits by itself.
func (l *Launcher) Start(ctx context.Context, c Confinement) (*Process, error) {
	return l.StartBinary(ctx, l.binary, c)
}

// StartBinary is Start for another binary, whose path is absolute.
func (l *Launcher) StartBinary(ctx context.Context, binary string, c Confinement) (_ *Process, retErr error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(l.runDir, "r")
	if err != nil {
		return nil, fmt.Errorf("making a runner's folder: %w: data_dir must be writable and have space left", err)
	}
	leaf, err := c.ready(dir)
	if err != nil {
		_ = os.RemoveAll(dir)
		return nil, err
	}
	started := newChild(dir, leaf)
	started.background = c.Background
	p := &Process{handle: started, ending: &started.ending}
	defer func() {
		if retErr != nil {
			p.Kill()
		}
	}()

	config := l.pluginConfig(p, started.pid)
	config.VersionedPlugins = rpc.ClientPlugins()
	config.UnixSocketConfig = &plugin.UnixSocketConfig{TempDir: dir}
	config.RunnerFunc = func(_ hclog.Logger, spec *exec.Cmd, _ string) (runner.Runner, error) {
		env := environment(spec.Env, dir, c.Background)
		started.command = func() (*exec.Cmd, func(), error) { return c.command(binary, dir, env, leaf) }
		return started, nil
	}
	p.plugin = plugin.NewClient(config)
	undo := context.AfterFunc(ctx, started.kill)
	defer undo()

	if err := p.connect(); err != nil {
		return nil, p.startError(ctx, binary, err)
	}
	p.protocol = p.plugin.NegotiatedVersion()
	p.identity, p.identityErr = identify(started.pid(), dir, p.plugin.ReattachConfig().Addr.String())
	return p, nil
}

// startError says why a runner did not start, with what it printed.
func (p *Process) startError(ctx context.Context, binary string, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("starting runner: %w", ctx.Err())
	}
	if said := lastWords(p.ending.dir); said != "" {
		err = fmt.Errorf("%w: it printed: %s", err, said)
	}
	return fmt.Errorf("starting runner %s (this supervisor speaks protocol version %d): %w", binary, rpc.ProtocolVersion, err)
}

// environment is what a runner's process starts with: go-plugin's variables,
// and those that the Go runtime reads before a config could bring them. The
// stream's own environment comes with its config. A runner that is started ahead
// is collected more often.
func environment(fromPlugin []string, dir string, ahead bool) []string {
	collected := rpc.StartGOGC
	if ahead {
		collected = rpc.AheadGOGC
	}
	// Nobody asks a runner where it has allocated memory, and the table of it
	// takes some itself.
	env := append([]string{"GOGC=" + collected, "GODEBUG=memprofilerate=0"}, fromPlugin...)
	for _, name := range []string{"TZ", "GODEBUG", "GOGC", "GOMAXPROCS", "GOMEMLIMIT", "GOTRACEBACK"} {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	// The last one wins. go-plugin would nest a further folder, whose path is
	// too long for a socket.
	return append(env, plugin.EnvUnixSocketDir+"="+dir)
}
