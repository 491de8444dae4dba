package process

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"penstock/rpc"
)

// panics makes a stream whose process ends when it is posted to.
const panics = `
input: {http_server: {path: /post}}
pipeline: {processors: [{mapping: 'root = range(0, this.n)'}]}
output: {drop: {}}`

// panicNow makes such a stream's process end.
func panicNow(l *Launcher, id Identity) error {
	conn, err := net.Dial("unix", filepath.Join(l.runDir, id.Dir, "http.sock"))
	if err != nil {
		return err
	}
	defer conn.Close()
	const body = `{"n": 9000000000000000000}`
	_, err = fmt.Fprintf(conn, "POST /post HTTP/1.0\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	if err != nil {
		return err
	}
	// The connection breaks when the process ends.
	_, _ = io.Copy(io.Discard, conn)
	return nil
}

const finishes = `{input: {generate: {count: 3, interval: "", mapping: 'root = "x"'}}, output: {drop: {}}}`

func TestReleasedRunnerIsAdopted(t *testing.T) {
	l := launcher(t)
	p := start(t, l)
	prepare(t, p, idle)
	require.NoError(t, p.Run(context.Background()))
	assert.Equal(t, rpc.ProtocolVersion, p.Protocol())
	id, err := p.Identity()
	require.NoError(t, err)
	assert.Equal(t, p.PID(), id.PID)
	assert.Equal(t, uint32(os.Geteuid()), id.UID)

	p.Release()
	p.Kill()
	p.Close(context.Background())
	p.Release()
	require.ErrorIs(t, p.Run(context.Background()), context.Canceled, "its connection is closed")

	again := adopt(t, l, id)
	assert.Equal(t, id.PID, again.PID())
	assert.Equal(t, rpc.ProtocolVersion, again.Protocol())
	adopted, err := again.Identity()
	require.NoError(t, err)
	assert.Equal(t, id, adopted)
	said, err := again.Identify(context.Background())
	require.NoError(t, err)
	assert.Equal(t, rpc.PhaseRunning, said.Phase)
	assert.Equal(t, id.PID, said.PID)

	// And once more: an adopted one can be released as well.
	again.Release()
	again.Kill()
	last := adopt(t, l, id)
	drained, err := last.Stop(context.Background(), patience)
	require.NoError(t, err)
	assert.True(t, drained)
	last.Close(context.Background())
	awaitExited(t, last)
	assert.Equal(t, Exited, last.Exit().Reason)
	assert.Zero(t, last.Exit().Code)
	left, err := os.ReadDir(l.runDir)
	require.NoError(t, err)
	assert.Empty(t, left)
	select {
	case <-p.Exited():
		t.Fatal("the exit of a released process is nobody's news")
	default:
	}
}

func TestAdoptedRunnersExit(t *testing.T) {
	for name, c := range map[string]struct {
		config string
		end    func(*Launcher, *Process) error
		want   Exit
		record rpc.ExitReason
		text   string
	}{
		"closed": {
			idle, func(_ *Launcher, p *Process) error {
				_, err := p.Stop(context.Background(), patience)
				p.Close(context.Background())
				return err
			},
			Exit{Reason: Exited}, rpc.ExitStopped, "exited with code 0",
		},
		"killed": {
			idle, func(_ *Launcher, p *Process) error { p.Kill(); return nil },
			Exit{Reason: Killed, Code: -1, Signal: syscall.SIGKILL}, "", "was ended by signal 9 (killed)",
		},
		"signaled": {
			idle, func(_ *Launcher, p *Process) error { return syscall.Kill(p.PID(), syscall.SIGKILL) },
			Exit{Reason: Signaled, Code: -1, Signal: syscall.SIGKILL}, "", "was ended by signal 9 (killed)",
		},
		"terminated": {
			idle, func(_ *Launcher, p *Process) error { return syscall.Kill(p.PID(), syscall.SIGTERM) },
			Exit{Reason: Exited}, rpc.ExitTerminated, "exited with code 0",
		},
		"panicked": {
			panics, func(l *Launcher, p *Process) error { return panicNow(l, p.identity) },
			Exit{Reason: Exited, Code: 2}, "", "exited with code 2: panic: runtime error: makeslice: len out of range",
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := launcher(t)
			p := adopt(t, l, startEarlier(t, l, c.config, time.Minute))
			require.NoError(t, c.end(l, p))
			awaitExited(t, p)
			got := p.Exit()
			assert.Equal(t, c.text, got.String())
			assert.WithinDuration(t, time.Now(), got.At, patience)
			if c.record == "" {
				assert.Nil(t, got.Record)
			} else if assert.NotNil(t, got.Record) {
				assert.Equal(t, c.record, got.Record.Reason)
			}
			got.At, got.Message, got.Record = time.Time{}, "", nil
			assert.Equal(t, c.want, got)
		})
	}
}

func TestKillOfAnAdoptedRunnerEndsWhatItStarted(t *testing.T) {
	for name, end := range map[string]func(*Process) error{
		"killed": func(p *Process) error { p.Kill(); return nil },
		"died":   func(p *Process) error { return syscall.Kill(p.PID(), syscall.SIGKILL) },
	} {
		t.Run(name, func(t *testing.T) {
			l := launcher(t)
			config, grandchild := startsSleep(t)
			p := adopt(t, l, startEarlier(t, l, config, time.Minute))
			pid := grandchild()
			require.NoError(t, end(p))
			awaitDead(t, pid)
		})
	}
}

func TestKillEndsWhatTheRunnerStarted(t *testing.T) {
	p := start(t, launcher(t))
	config, grandchild := startsSleep(t)
	prepare(t, p, config)
	require.NoError(t, p.Run(context.Background()))
	pid := grandchild()
	p.Kill()
	assert.Equal(t, Killed, p.Exit().Reason)
	assert.Equal(t, syscall.SIGKILL, p.Exit().Signal)
	assert.Contains(t, p.Exit().String(), "signal 9")
	awaitDead(t, pid)
}

func TestStoppedRunnerIsAdopted(t *testing.T) {
	l := launcher(t)
	id := startEarlier(t, l, idle, time.Minute)
	suspend(t, id.PID)
	p := adopt(t, l, id)
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	_, err := p.Identify(ctx)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.NoError(t, syscall.Kill(id.PID, syscall.SIGCONT))
	ctx, cancel = context.WithTimeout(context.Background(), patience)
	defer cancel()
	said, err := p.Identify(ctx)
	require.NoError(t, err)
	assert.Equal(t, "token", said.Instance)
	assert.Equal(t, "s", said.StreamID)
}

// TestCloseKillsAnAdoptedRunnerThatHangs shows the bound that a caller who
// gives none still has.
func TestCloseKillsAnAdoptedRunnerThatHangs(t *testing.T) {
	l := launcher(t)
	id := startEarlier(t, l, idle, time.Minute)
	p := adopt(t, l, id)
	suspend(t, id.PID)
	p.Close(context.Background())
	awaitExited(t, p)
	assert.Equal(t, Killed, p.Exit().Reason)
}

// TestFinishedWhileUnattended has a stream end between two supervisors.
func TestFinishedWhileUnattended(t *testing.T) {
	l := launcher(t)
	id := startEarlier(t, l, finishes, time.Minute)
	p := adopt(t, l, id)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var finished *rpc.Finished
	require.NoError(t, p.Events(ctx, func(e rpc.Event) error {
		finished = e.Finished
		return nil
	}))
	require.NotNil(t, finished)
	assert.Empty(t, finished.Error)
	assert.NotEmpty(t, finished.Metrics)
	said, err := p.Identify(ctx)
	require.NoError(t, err)
	assert.Equal(t, rpc.PhaseEnded, said.Phase)
	p.Release()

	require.NoError(t, syscall.Kill(id.PID, syscall.SIGKILL))
	awaitGone(t, l, id)
	exit := l.LastExit(id.Dir, nil)
	assert.Equal(t, Exited, exit.Reason)
	assert.Zero(t, exit.Code)
	require.NotNil(t, exit.Record)
	assert.Equal(t, rpc.ExitFinished, exit.Record.Reason)
	assert.ElementsMatch(t, finished.Metrics, normal(exit.Record.Metrics))
}

// normal is how metrics look that crossed the wire.
func normal(metrics []rpc.Metric) []rpc.Metric {
	for i := range metrics {
		if len(metrics[i].Labels) == 0 {
			metrics[i].Labels = nil
		}
	}
	return metrics
}

func TestPanickedWhileUnattended(t *testing.T) {
	l := launcher(t)
	id := startEarlier(t, l, panics, time.Minute)
	require.NoError(t, panicNow(l, id))
	awaitGone(t, l, id)
	exit := l.LastExit(id.Dir, nil)
	assert.Equal(t, Exited, exit.Reason)
	assert.Equal(t, 2, exit.Code)
	assert.WithinDuration(t, time.Now(), exit.At, patience)
	assert.Nil(t, exit.Record)
	lines := strings.Split(exit.Message, "\n")
	assert.Contains(t, lines[0], "panic: runtime error: makeslice: len out of range")
	assert.Contains(t, exit.Message, "\ngoroutine ")
	assert.Contains(t, exit.Message, "bloblang")
	assert.LessOrEqual(t, len(exit.Message), maxMessage)
	assert.NotContains(t, exit.String(), "\n")
}

func TestOrphanedWhileUnattended(t *testing.T) {
	l := launcher(t)
	id := startEarlier(t, l, idle, 50*time.Millisecond)
	awaitGone(t, l, id)
	exit := l.LastExit(id.Dir, nil)
	assert.Equal(t, Exited, exit.Reason)
	require.NotNil(t, exit.Record)
	assert.Equal(t, rpc.ExitOrphaned, exit.Record.Reason)
	assert.Equal(t, exit.Record.At, exit.At)
}

func TestKilledWhileUnattended(t *testing.T) {
	l := launcher(t)
	id := startEarlier(t, l, idle, time.Minute)
	require.NoError(t, syscall.Kill(id.PID, syscall.SIGKILL))
	awaitGone(t, l, id)
	assert.Equal(t, Exit{Reason: Lost, Code: -1}, l.LastExit(id.Dir, nil))
	assert.Equal(t, "ended unseen", l.LastExit(id.Dir, nil).String())
	assert.Equal(t, Lost, l.LastExit("nothing", nil).Reason)
}

// TestAdoptIsCheap bounds what a restart with many streams costs: time,
// threads and goroutines.
func TestAdoptIsCheap(t *testing.T) {
	const times = 200
	l := launcher(t)
	id := startEarlier(t, l, idle, time.Minute)
	adopt(t, l, id).Release()
	threads, goroutines := threadCount(t), runtime.NumGoroutine()
	began := time.Now()
	all := make([]*Process, times)
	for i := range all {
		var err error
		all[i], err = l.Adopt(id, nil)
		require.NoError(t, err)
	}
	took := time.Since(began)
	t.Logf("%d adoptions in %s, %d threads and %d goroutines more", times, took,
		threadCount(t)-threads, runtime.NumGoroutine()-goroutines)
	assert.Less(t, took, time.Second, "even with the race detector on a busy machine")
	assert.Less(t, threadCount(t), threads+times/4, "an adopted runner holds no thread")

	require.NoError(t, syscall.Kill(id.PID, syscall.SIGKILL))
	for _, p := range all {
		awaitExited(t, p)
		assert.Equal(t, Signaled, p.Exit().Reason)
		p.Kill()
	}
}

func threadCount(t *testing.T) int {
	t.Helper()
	tasks, err := os.ReadDir("/proc/self/task")
	require.NoError(t, err)
	return len(tasks)
}

// startsSleep makes the config of a stream that starts a process, and a
// function that waits for it and gives its id.
func startsSleep(t *testing.T) (config string, grandchild func() int) {
	pidFile := filepath.Join(t.TempDir(), "pid")
	config = `{input: {subprocess: {name: /bin/sh, args: ["-c", "echo $$ > ` + pidFile + `; exec /bin/sleep 600"]}}, output: {drop: {}}}`
	return config, func() int {
		t.Helper()
		var pid int
		require.Eventually(t, func() bool {
			data, err := os.ReadFile(pidFile)
			if err != nil {
				return false
			}
			_, err = fmt.Sscan(string(data), &pid)
			return err == nil
		}, patience, 5*time.Millisecond)
		return pid
	}
}

// suspend stops all threads of a process, which takes a moment.
func suspend(t *testing.T, pid int) {
	t.Helper()
	require.NoError(t, syscall.Kill(pid, syscall.SIGSTOP))
	require.Eventually(t, func() bool {
		states, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
		for _, path := range states {
			stat, err := os.ReadFile(path)
			if err != nil || !strings.Contains(string(stat), ") T ") {
				return false
			}
		}
		return err == nil && len(states) > 0
	}, patience, time.Millisecond)
}

func awaitDead(t *testing.T, pid int) {
	t.Helper()
	require.Eventually(t, func() bool {
		stat, err := readStat(pid)
		return errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) || err == nil && stat.dead()
	}, patience, 5*time.Millisecond)
}

// TestPluginFollowsNoLink: who listens where a link in the place of a runner's
// socket leads is not connected to, not even for a moment.
func TestPluginFollowsNoLink(t *testing.T) {
	l := launcher(t)
	p := start(t, l)
	id, err := p.Identity()
	require.NoError(t, err)
	p.Release()
	again := adopt(t, l, id)
	for who, p := range map[string]*Process{"started": p, "adopted": again} {
		conn, err := p.dialPlugin(t.Context(), "")
		require.NoError(t, err, who)
		require.NoError(t, conn.Close())
	}
	socket := filepath.Join(l.runDir, id.Dir, id.Socket)
	require.NoError(t, os.Rename(socket, socket+".own"))
	listener, err := net.Listen("unix", filepath.Join(l.runDir, "elsewhere"))
	require.NoError(t, err)
	defer listener.Close()
	require.NoError(t, os.Symlink(listener.Addr().String(), socket))
	for who, p := range map[string]*Process{"started": p, "adopted": again} {
		_, err := p.dialPlugin(t.Context(), "")
		assert.ErrorContains(t, err, "something else", who)
	}
	require.NoError(t, listener.(*net.UnixListener).SetDeadline(time.Now().Add(50*time.Millisecond)))
	_, err = listener.Accept()
	assert.ErrorIs(t, err, os.ErrDeadlineExceeded, "somebody has connected")
}
