package supervisor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"penstock/rpc/handover"
	"penstock/supervisor/options"
)

// streamListen is where streams may listen themselves. Under strict that is
// nowhere unless the operator says so: these listeners ask for no token.
func streamListen(cfg Config) ([]options.ListenRule, error) {
	switch {
	case len(cfg.StreamListen) > 0:
		rules, err := options.ParseListenRules(cfg.StreamListen)
		if err != nil {
			return nil, fmt.Errorf("http.stream_listen: %w", err)
		}
		return rules, nil
	case cfg.Isolation.Profile == ProfileStrict:
		return nil, nil
	}
	return options.LoopbackListening(), nil
}

// listens is the address whose socket is open for the stream; empty is none.
func (v *view) listens() string {
	switch {
	case v.paused, v.state == StateStopped:
		return ""
	case v.state == StateFinished, v.state == StateFailed:
		if !v.spec.options.Replicas.Several() {
			return ""
		}
		// Others may still listen.
	}
	return v.spec.options.HTTP.Listen
}

// settleSocket closes the sockets that the stream has no use for as it is now.
func (s *stream) settleSocket() {
	if s.of != nil {
		s.of.replicas.settleSocket()
		return
	}
	s.sup.sockets.retain(s.id, s.listens())
}

// closeSocket closes the socket of a stream that has ended by itself, unless it
// has replicas that listen as well.
func (s *stream) closeSocket() {
	if !s.spec.options.Replicas.Several() {
		s.sup.sockets.retain(s.id, "")
	}
}

// claimSocket has a stream hold the socket that its config names, before its
// runner is made. One that an adopted runner has still is asked back.
func (s *Supervisor) claimSocket(ctx context.Context, id, address string) error {
	if address == "" {
		return nil
	}
	// A runner of an earlier supervisor may hold it until then.
	select {
	case <-s.cleared:
	case <-ctx.Done():
		return ctx.Err()
	}
	err := s.bindSocket(id, address)
	if err == nil || !errors.Is(err, errAddressInUse) {
		return err
	}
	st, lookErr := s.find(id)
	if lookErr != nil {
		return err
	}
	v := st.seen.Load()
	if v.current == nil || !v.current.adopted || v.spec.options.HTTP.Listen != address || s.askBack(ctx, st, v.current, address) != nil {
		return err
	}
	return s.bindSocket(id, address)
}

// bindSocket is claimSocket without waiting or asking for anything.
func (s *Supervisor) bindSocket(id, address string) error {
	if address == "" {
		return nil
	}
	return s.sockets.claim(id, address, func() (int, error) {
		var uid uint32
		if s.confiner.uids != nil {
			var err error
			if uid, err = s.confiner.uids.of(id); err != nil {
				return -1, err
			}
		}
		return listenAs(uid, address)
	})
}

// listenAs listens on an address with a socket of that user's, 0 is the
// process's own.
//
// A runner could end the listening and connect with the socket instead. The
// rules of egress go by the user who has made a socket, so that it must not be
// the supervisor's; and a socket of MPTCP, which Go makes by default, would not
// be bound by Landlock.
func listenAs(uid uint32, address string) (fd int, err error) {
	done := make(chan struct{})
	// A goroutine of its own, whose thread may end with it.
	go func() {
		defer close(done)
		if uid != 0 {
			if err = becomeOwner(uid); err != nil {
				return
			}
		}
		fd, err = listenOn(address)
	}()
	<-done
	if errors.Is(err, syscall.EADDRINUSE) {
		return -1, &addressInUseError{InvalidError{fmt.Sprintf(
			"runtime.http.listen: another program listens on %s: choose another address, or stop it", address)}, address}
	}
	if err != nil {
		return -1, &InvalidError{fmt.Sprintf("runtime.http.listen: %s", err)}
	}
	return fd, nil
}

func listenOn(address string) (int, error) {
	var config net.ListenConfig
	config.SetMultipathTCP(false)
	// "tcp" would make a wildcard address one of both families.
	network := "tcp6"
	if at, err := netip.ParseAddrPort(address); err != nil {
		return -1, err
	} else if at.Addr().Is4() {
		network = "tcp4"
	}
	listener, err := config.Listen(context.Background(), network, address)
	if err != nil {
		return -1, err
	}
	defer listener.Close()
	raw, err := listener.(*net.TCPListener).SyscallConn()
	if err != nil {
		return -1, err
	}
	fd := -1
	var dupErr error
	if err := raw.Control(func(own uintptr) { fd, dupErr = unix.FcntlInt(own, unix.F_DUPFD_CLOEXEC, 0) }); err != nil {
		return -1, err
	}
	return fd, dupErr
}

// handSocket gives a runner that is about to run its copy of the stream's
// socket.
func (s *stream) handSocket(ctx context.Context, inst *instance) error {
	address := s.spec.options.HTTP.Listen
	if address == "" {
		return nil
	}
	// It is there, unless the last runner has ended it.
	if err := s.sup.claimSocket(ctx, publicID(s.id), address); err != nil {
		return err
	}
	fd, err := s.sup.sockets.copy(publicID(s.id), address)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	conn, err := inst.proc.Dial(ctx, inst.httpSocket)
	if err != nil {
		return fmt.Errorf("handing the runner the socket of %s: %w", address, err)
	}
	defer conn.Close()
	if err := handover.Give(ctx, conn, fd); err != nil {
		return fmt.Errorf("handing the runner the socket of %s: %w", address, err)
	}
	return nil
}

// regainSocket asks an adopted runner for the socket that an earlier supervisor
// gave it, so that it stays open when the runner dies or is replaced.
func (s *stream) regainSocket(inst *instance) {
	v := s.seen.Load()
	address := v.spec.options.HTTP.Listen
	if v.current != inst || address == "" {
		return
	}
	if err := s.sup.askBack(s.life, s, inst, address); err != nil && inst.alive() && s.life.Err() == nil {
		s.log.Warn("the adopted runner does not give its listening socket back: callers are refused when it ends",
			zap.String("address", address), zap.Error(err))
		return
	}
	// It may have become idle meanwhile, without a socket to watch.
	s.tell(s.watchSocket)
}

// askBack gets a copy of the socket that a runner listens on.
func (s *Supervisor) askBack(ctx context.Context, st *stream, inst *instance, address string) error {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeouts.RPC)
	defer cancel()
	conn, err := inst.proc.Dial(ctx, inst.httpSocket)
	if err != nil {
		return err
	}
	defer conn.Close()
	fd, err := handover.Take(ctx, conn)
	if err != nil {
		return err
	}
	if err := s.sockets.regain(publicID(st.id), address, fd); err != nil {
		return err
	}
	// It may have been paused or changed meanwhile, and has closed what it had.
	if st.of != nil {
		st = st.of
	}
	// The stream of a replica may be about to be recalled, and closes then what it
	// has no use for.
	if v := st.seen.Load(); v != nil {
		s.sockets.retain(st.id, v.listens())
	}
	return nil
}

// ownCallsWithin is how long there have to be no calls on the stream's own
// listener from now on until there were none for so long; 0 when that is so.
func (s *stream) ownCallsWithin(timeout time.Duration) time.Duration {
	if s.current == nil || s.spec.options.HTTP.Listen == "" {
		return 0
	}
	ctx, cancel := context.WithTimeout(s.life, s.sup.cfg.Timeouts.RPC)
	defer cancel()
	var wait time.Duration
	for _, inst := range s.runners(&s.view) {
		told, err := inst.proc.Ready(ctx)
		if err != nil || told.Own == nil {
			// Not at once: the stream's other wishes wait while it is asked.
			return timeout + s.sup.cfg.Timeouts.RPC
		}
		wait = max(wait, timeout-told.Own.Quiet)
	}
	return wait
}

// watchSocket waits for callers at the socket of a stream that is idle, and no
// longer once it is so no more. Nobody accepts them: that is for the runner that
// they have started for them. It begins anew at a socket that was not there
// before.
func (s *stream) watchSocket() {
	if s.unwatchSocket != nil {
		s.unwatchSocket()
		s.unwatchSocket = nil
	}
	address := s.spec.options.HTTP.Listen
	if s.state != StateIdle || address == "" {
		return
	}
	fd, err := s.sup.sockets.copy(s.id, address)
	if err != nil {
		return
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		_ = unix.Close(fd)
		return
	}
	file, done := os.NewFile(uintptr(fd), address), make(chan struct{})
	s.unwatchSocket = func() {
		_ = file.Close()
		// Whoever it has not woken by now it does not wake any more.
		<-done
	}
	s.sup.watchers.Go(func() {
		defer close(done)
		if awaitCaller(file) == nil {
			s.wake()
		}
	})
}

// awaitCaller waits until somebody has connected to a listening socket, or
// until it is closed.
func awaitCaller(socket *os.File) error {
	raw, err := socket.SyscallConn()
	if err != nil {
		return err
	}
	return raw.Read(func(fd uintptr) bool {
		asked := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(asked, 0)
		return err == nil && n > 0
	})
}
