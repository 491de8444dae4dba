package process

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"penstock/rpc"
)

// patience bounds every wait of these tests.
const patience = time.Minute

// runnerBinary is the real runner, built once.
var runnerBinary string

func TestMain(m *testing.M) {
	if task, ok := os.LookupEnv(earlierVariable); ok {
		os.Exit(beEarlier(task))
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "penstock-process")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	runnerBinary = filepath.Join(dir, "penstock-runner")
	build := exec.Command("go", "build", "-o", runnerBinary, "penstock/cmd/penstock-runner")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		panic(string(out))
	}
	code := m.Run()
	if err := goleak.Find(); err != nil && code == 0 {
		println(err.Error())
		return 1
	}
	return code
}

func launcher(t *testing.T) *Launcher {
	t.Helper()
	l, err := NewLauncher(runnerBinary, filepath.Join(t.TempDir(), "run"), patience, nil)
	require.NoError(t, err)
	return l
}

func start(t *testing.T, l *Launcher) *Process {
	t.Helper()
	p, err := l.Start(context.Background(), Confinement{})
	require.NoError(t, err)
	t.Cleanup(p.Kill)
	return p
}

func awaitExited(t *testing.T, p *Process) {
	t.Helper()
	select {
	case <-p.Exited():
	case <-time.After(patience):
		t.Fatal("the process does not exit")
	}
}

func prepare(t *testing.T, p *Process, config string) {
	t.Helper()
	_, err := p.Prepare(context.Background(), rpc.PrepareRequest{
		StreamID: "s", Config: []byte(config), LogDir: t.TempDir(), OrphanTimeout: time.Minute,
	})
	require.NoError(t, err)
}

const idle = `{input: {http_server: {path: /post}}, output: {drop: {}}}`

func TestStartAndClose(t *testing.T) {
	l := launcher(t)
	p := start(t, l)
	prepare(t, p, idle)
	require.NoError(t, p.Run(context.Background()))

	sid, err := syscall.Getpgid(p.PID())
	require.NoError(t, err)
	assert.Equal(t, p.PID(), sid, "a group of its own")

	drained, err := p.Stop(context.Background(), patience)
	require.NoError(t, err)
	assert.True(t, drained)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	p.Close(ctx)
	awaitExited(t, p)
	assert.Equal(t, Exited, p.Exit().Reason)
	assert.Zero(t, p.Exit().Code)
	assert.WithinDuration(t, time.Now(), p.Exit().At, patience)
	require.NotNil(t, p.Exit().Record)
	assert.Equal(t, rpc.ExitStopped, p.Exit().Record.Reason)
	assert.Equal(t, "exited with code 0", p.Exit().String())
	left, err := os.ReadDir(l.runDir)
	require.NoError(t, err)
	assert.Empty(t, left, "its folder is gone")
	p.Kill()
	p.Close(ctx)
}

func TestSignalThatWeDidNotSend(t *testing.T) {
	p := start(t, launcher(t))
	require.NoError(t, syscall.Kill(p.PID(), syscall.SIGKILL))
	awaitExited(t, p)
	assert.Equal(t, Signaled, p.Exit().Reason)
	assert.Equal(t, syscall.SIGKILL, p.Exit().Signal)
	assert.Equal(t, -1, p.Exit().Code)
}

func TestPanicIsTheExitsMessage(t *testing.T) {
	p := start(t, launcher(t))
	prepare(t, p, `{input: {generate: {mapping: 'root.n = 9000000000000000000'}}, pipeline: {processors: [{mapping: 'root = range(0, this.n)'}]}, output: {drop: {}}}`)
	_ = p.Run(context.Background())
	awaitExited(t, p)
	assert.Equal(t, 2, p.Exit().Code)
	assert.Equal(t, Exited, p.Exit().Reason)
	assert.Contains(t, p.Exit().Message, "panic: runtime error: makeslice: len out of range")
	whole, err := p.Stderr()
	require.NoError(t, err)
	assert.Contains(t, string(whole), "created by ", "the panic is kept whole")
}

func TestCloseKillsARunnerThatHangs(t *testing.T) {
	p := start(t, launcher(t))
	require.NoError(t, syscall.Kill(p.PID(), syscall.SIGSTOP))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	p.Close(ctx)
	awaitExited(t, p)
	assert.Equal(t, syscall.SIGKILL, p.Exit().Signal)
	assert.Equal(t, Killed, p.Exit().Reason)
}

func TestStartEndsWithItsContext(t *testing.T) {
	l := launcher(t)
	hang := filepath.Join(t.TempDir(), "hang")
	require.NoError(t, os.WriteFile(hang, []byte("#!/bin/sh\nsleep 600\n"), 0o700))
	l.binary = hang
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	_, err := l.Start(ctx, Confinement{})
	require.ErrorIs(t, err, context.DeadlineExceeded)
	left, err := os.ReadDir(l.runDir)
	require.NoError(t, err)
	assert.Empty(t, left)

	_, err = l.Start(ctx, Confinement{})
	require.ErrorIs(t, err, context.DeadlineExceeded, "nothing is started for a context that has ended")
}

func TestStartNamesWhatTheBinarySaid(t *testing.T) {
	l := launcher(t)
	broken := filepath.Join(t.TempDir(), "broken")
	require.NoError(t, os.WriteFile(broken, []byte("#!/bin/sh\necho 'no such library' >&2\nexit 3\n"), 0o700))
	l.binary = broken
	_, err := l.Start(context.Background(), Confinement{})
	require.ErrorContains(t, err, "no such library")
	require.ErrorContains(t, err, broken)
}

func TestStartThatTheSystemRefuses(t *testing.T) {
	l := launcher(t)
	l.binary = filepath.Join(t.TempDir(), "removed")
	_, err := l.Start(t.Context(), Confinement{})
	require.ErrorIs(t, err, os.ErrNotExist)
	assert.ErrorContains(t, err, "starting the runner's process")
	left, err := os.ReadDir(l.runDir)
	require.NoError(t, err)
	assert.Empty(t, left)
}

func TestNewLauncherRefuses(t *testing.T) {
	notExecutable := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(notExecutable, nil, 0o600))
	for _, binary := range []string{notExecutable, "/nowhere/penstock-runner"} {
		_, err := NewLauncher(binary, t.TempDir(), patience, nil)
		require.ErrorContains(t, err, "--runner")
		require.ErrorContains(t, err, binary)
	}
	_, err := NewLauncher(runnerBinary, filepath.Join(t.TempDir(), strings.Repeat("x", 90)), patience, nil)
	require.ErrorContains(t, err, "too long for unix sockets")
}

func TestTheSupervisorsEnvironmentStaysBehind(t *testing.T) {
	t.Setenv("PENSTOCK_TEST_SECRET", "hidden")
	p := start(t, launcher(t))
	data, err := os.ReadFile(filepath.Join("/proc", p.handle.ID(), "environ"))
	if os.IsNotExist(err) {
		t.Skip("no /proc on this system to look into")
	}
	require.NoError(t, err)
	assert.NotContains(t, string(data), "PENSTOCK_TEST_SECRET")
}
