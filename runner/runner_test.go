package runner

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"penstock/rpc"
)

// patience bounds every wait of these tests.
const patience = time.Minute

// binary is the real runner, built once, of version "v7".
var binary string

func TestMain(m *testing.M) {
	if os.Getenv(saysProcessors) != "" {
		os.Exit(sayProcessors())
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "penstock-runner")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "penstock-runner")
	build := exec.Command("go", "build", "-ldflags", "-X main.version=v7", "-o", binary, "penstock/cmd/penstock-runner")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		panic(string(out))
	}
	return m.Run()
}

// process is a runner's process and a supervisor's end of it.
type process struct {
	*rpc.Client
	plugin *plugin.Client
	cmd    *exec.Cmd
	// dir is its folder, logs that of its stream's log files.
	dir, logs string
}

func start(t *testing.T) *process {
	t.Helper()
	p := &process{dir: t.TempDir(), logs: t.TempDir(), cmd: exec.Command(binary)}
	p.cmd.Env = []string{plugin.EnvUnixSocketDir + "=" + p.dir}
	p.plugin = plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig:  rpc.Handshake(),
		VersionedPlugins: rpc.ClientPlugins(),
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		GRPCDialOptions:  rpc.DialOptions(nil),
		Cmd:              p.cmd,
		SkipHostEnv:      true,
		Logger:           hclog.NewNullLogger(),
	})
	protocol, err := p.plugin.Client()
	require.NoError(t, err)
	t.Cleanup(p.plugin.Kill)
	dispensed, err := protocol.Dispense(rpc.PluginName)
	require.NoError(t, err)
	p.Client = dispensed.(*rpc.Client)
	return p
}

func (p *process) prepare(t *testing.T, config string, change ...func(*rpc.PrepareRequest)) rpc.Prepared {
	t.Helper()
	req := rpc.PrepareRequest{
		StreamID: "s", Instance: "token", Config: []byte(config), LogDir: p.logs, OrphanTimeout: time.Minute,
	}
	for _, c := range change {
		c(&req)
	}
	prepared, err := p.Prepare(context.Background(), req)
	require.NoError(t, err)
	return prepared
}

func (p *process) phase(t *testing.T) rpc.Phase {
	t.Helper()
	id, err := p.Identify(context.Background())
	require.NoError(t, err)
	return id.Phase
}

func (p *process) awaitExit(t *testing.T) {
	t.Helper()
	require.Eventually(t, p.plugin.Exited, patience, 5*time.Millisecond)
}

func (p *process) record(t *testing.T) (rpc.ExitRecord, bool) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(p.dir, rpc.ExitFile))
	if errors.Is(err, fs.ErrNotExist) {
		return rpc.ExitRecord{}, false
	}
	require.NoError(t, err)
	record, err := rpc.DecodeExitRecord(data)
	require.NoError(t, err)
	return record, true
}

// attach opens the event stream, as a supervisor that has the runner does, and
// returns what it ends with and a function to go away.
func (p *process) attach(t *testing.T) (end chan *rpc.Finished, leave func()) {
	t.Helper()
	ctx, leave := context.WithCancel(context.Background())
	t.Cleanup(leave)
	end = make(chan *rpc.Finished, 1)
	attached := make(chan struct{})
	go func() {
		var finished *rpc.Finished
		_ = p.Events(ctx, func(e rpc.Event) error {
			if e.Finished == nil {
				close(attached)
			}
			finished = e.Finished
			return nil
		})
		end <- finished
	}()
	select {
	case <-attached:
	case <-time.After(patience):
		t.Fatal("the runner does not say that it is attached")
	}
	return end, leave
}

const (
	idle     = `{input: {http_server: {path: /post}}, output: {drop: {}}}`
	finishes = `{input: {generate: {count: 3, interval: "", mapping: 'root = "x"'}}, output: {drop: {}}}`
)

func TestVersion(t *testing.T) {
	out, err := exec.Command(binary, "--version").Output()
	require.NoError(t, err)
	assert.Equal(t, "v7\n", string(out))
	assert.NotEmpty(t, recordedVersion(), "for a binary that was linked without a version")

	err = exec.Command(binary).Run()
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit, "it is not started by hand")
	assert.Equal(t, 1, exit.ExitCode())
}

func TestIdentifyInEveryPhase(t *testing.T) {
	ctx := context.Background()
	p := start(t)
	id, err := p.Identify(ctx)
	require.NoError(t, err)
	assert.Equal(t, rpc.Identity{Version: "v7", CanAssume: true, Phase: rpc.PhaseFresh, PID: p.cmd.Process.Pid}, id)

	p.prepare(t, idle)
	want := rpc.Identity{StreamID: "s", Instance: "token", Version: "v7", CanAssume: true, Phase: rpc.PhasePrepared, PID: p.cmd.Process.Pid}
	id, err = p.Identify(ctx)
	require.NoError(t, err)
	assert.Equal(t, want, id)
	require.NoError(t, p.Run(ctx))
	assert.Equal(t, rpc.PhaseRunning, p.phase(t))
	_, ok := p.record(t)
	assert.False(t, ok, "nothing has ended yet")

	end, _ := p.attach(t)
	drained, err := p.Stop(ctx, patience)
	require.NoError(t, err)
	assert.True(t, drained)
	assert.Equal(t, rpc.PhaseLeaving, p.phase(t))
	record, ok := p.record(t)
	require.True(t, ok)
	assert.Equal(t, rpc.ExitStopped, record.Reason)
	assert.NotEmpty(t, record.Metrics)
	select {
	case finished := <-end:
		assert.Nil(t, finished, "a stream that was stopped has not finished")
	case <-time.After(patience):
		t.Fatal("the events go on")
	}
}

func TestEndIsRecordedBeforeItIsTold(t *testing.T) {
	p := start(t)
	p.prepare(t, finishes)
	require.NoError(t, p.Run(context.Background()))
	var record rpc.ExitRecord
	var finished *rpc.Finished
	require.NoError(t, p.Events(context.Background(), func(e rpc.Event) error {
		if finished = e.Finished; finished != nil {
			var ok bool
			record, ok = p.record(t)
			assert.True(t, ok)
		}
		return nil
	}))
	require.NotNil(t, finished)
	assert.Equal(t, rpc.ExitFinished, record.Reason)
	assert.Empty(t, record.Error)
	assert.Len(t, finished.Metrics, len(record.Metrics))
	assert.WithinDuration(t, time.Now(), record.At, patience)

	_, err := p.Stop(context.Background(), patience)
	require.NoError(t, err)
	again, _ := p.record(t)
	assert.Equal(t, record, again, "the first reason counts")
}

// TestFinishedIsToldToTheNextSupervisor has the stream end while there is
// none.
func TestFinishedIsToldToTheNextSupervisor(t *testing.T) {
	p := start(t)
	_, leave := p.attach(t)
	p.prepare(t, finishes, func(r *rpc.PrepareRequest) { r.OrphanTimeout = 0 })
	leave()
	require.NoError(t, p.Run(context.Background()))
	require.Eventually(t, func() bool { return p.phase(t) == rpc.PhaseEnded }, patience, 5*time.Millisecond)
	end, _ := p.attach(t)
	select {
	case finished := <-end:
		require.NotNil(t, finished)
		assert.NotEmpty(t, finished.Metrics)
	case <-time.After(patience):
		t.Fatal("the end is not told")
	}
}

func TestRunnerWithoutSupervisorEnds(t *testing.T) {
	for name, c := range map[string]struct {
		config string
		reason rpc.ExitReason
	}{
		"running":  {idle, rpc.ExitOrphaned},
		"finished": {finishes, rpc.ExitFinished},
	} {
		t.Run(name, func(t *testing.T) {
			p := start(t)
			_, leave := p.attach(t)
			p.prepare(t, c.config, func(r *rpc.PrepareRequest) { r.OrphanTimeout = 300 * time.Millisecond })
			require.NoError(t, p.Run(context.Background()))
			if c.reason == rpc.ExitFinished {
				require.Eventually(t, func() bool { return p.phase(t) == rpc.PhaseEnded }, patience, 5*time.Millisecond)
			}
			leave()
			p.awaitExit(t)
			record, ok := p.record(t)
			require.True(t, ok)
			assert.Equal(t, c.reason, record.Reason)
		})
	}
}

func TestOrphanTimeoutOfZeroIsNever(t *testing.T) {
	expired := make(chan struct{})
	w := newOrphanWatch(func() { close(expired) })
	assert.True(t, w.timer.Stop(), "it waits for the first contact")
	w.rearm()
	w.setTimeout(0)
	assert.False(t, w.timer.Stop())
	w.attach()
	w.detach()
	assert.False(t, w.timer.Stop(), "it waits for nothing")

	w.attach()
	w.setTimeout(time.Nanosecond)
	assert.False(t, w.timer.Stop(), "a supervisor is attached")
	w.detach()
	select {
	case <-expired:
	case <-time.After(patience):
		t.Fatal("it does not expire")
	}
}

func TestTerminatedIsRecorded(t *testing.T) {
	p := start(t)
	p.prepare(t, idle)
	require.NoError(t, p.Run(context.Background()))
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGTERM))
	p.awaitExit(t)
	record, ok := p.record(t)
	require.True(t, ok)
	assert.Equal(t, rpc.ExitTerminated, record.Reason)
}
