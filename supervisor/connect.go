package supervisor

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"syscall"
	"time"

	"github.com/cenkalti/backoff/v5"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"penstock/rpc/handover"
)

// maxReconnect is the longest pause between two attempts to connect a runner
// with the resource host.
const maxReconnect = 5 * time.Second

// reconnectPause is how long a runner that has just been connected waits for the
// next connection: one that throws them away keeps nobody busy.
const reconnectPause = 50 * time.Millisecond

// keepConnected connects a runner with the resource host each time it says that
// it needs that, for as long as it is followed.
func (s *Supervisor) keepConnected(inst *instance) {
	ctx, cancel := context.WithCancel(s.root)
	defer cancel()
	s.watchers.Go(func() {
		defer cancel()
		select {
		case <-inst.over:
		case <-ctx.Done():
		}
	})
	inst.sharing.Store(int32(uses))
	for {
		s.connectPatiently(ctx, inst)
		select {
		case <-time.After(reconnectPause):
		case <-ctx.Done():
			return
		}
		select {
		case <-inst.wants:
		case <-ctx.Done():
			return
		}
	}
}

// connectPatiently tries until the runner is connected, or followed no more.
func (s *Supervisor) connectPatiently(ctx context.Context, inst *instance) {
	pauses := &backoff.ExponentialBackOff{InitialInterval: askAgain, Multiplier: 2, MaxInterval: maxReconnect}
	pauses.Reset()
	for told := false; ; told = true {
		err := s.connect(ctx, inst)
		if err == nil || ctx.Err() != nil || errors.Is(err, ErrClosed) {
			return
		}
		if !told {
			s.log.Warn("a stream waits for the resource host", zap.Int("pid", inst.proc.PID()), zap.Error(err))
		}
		select {
		case <-time.After(pauses.NextBackOff()):
		case <-ctx.Done():
			return
		}
	}
}

// connect makes a connection between a runner and the resource host. Each gets
// its end from here: neither can reach the other's folder, nor any third.
func (s *Supervisor) connect(ctx context.Context, inst *instance) error {
	host, err := s.runningHost(ctx)
	if err != nil {
		return fmt.Errorf("starting the resource host: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeouts.RPC)
	defer cancel()
	ends, err := socketPair()
	if err != nil {
		return err
	}
	defer func() {
		_ = unix.Close(ends[0])
		_ = unix.Close(ends[1])
	}()
	if err := join(ctx, host, ends[0], strconv.Itoa(inst.proc.PID())); err != nil {
		return fmt.Errorf("connecting the resource host: %w", err)
	}
	// Should the runner not take its end, the host's is closed with it. It may have
	// asked twice, and need none any more.
	if err := join(ctx, inst, ends[1], "host"); err != nil && !errors.Is(err, handover.ErrJoined) {
		return fmt.Errorf("connecting the stream's runner: %w", err)
	}
	return nil
}

func join(ctx context.Context, inst *instance, fd int, name string) error {
	conn, err := inst.proc.Dial(ctx, inst.httpSocket)
	if err != nil {
		return err
	}
	defer conn.Close()
	return handover.Join(ctx, conn, fd, name)
}

// socketPair makes the two ends of a connection, which no other program inherits.
func socketPair() (ends [2]int, err error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	if ends, err = unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0); err != nil {
		return ends, fmt.Errorf("making a connection: %w", err)
	}
	unix.CloseOnExec(ends[0])
	unix.CloseOnExec(ends[1])
	return ends, nil
}
