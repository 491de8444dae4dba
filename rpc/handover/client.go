package handover

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"penstock/rpc/upgrade"
)

const (
	// Neither can be sent by a client of the gateway, which refuses methods that
	// it does not know.
	giveMethod = "LISTEN"
	takeMethod = "LISTENING"
	joinMethod = "JOIN"

	protocol = "penstock-handover/1"
	accepted = "ok"
	// upgradeBytes is what a runner's answer to the upgrade may have.
	upgradeBytes = 16 << 10
)

var (
	// ErrUnsupported is that a runner cannot be given a socket: an earlier build
	// of it has to be replaced.
	ErrUnsupported = errors.New("the runner takes no listening socket: it is older than the supervisor, upgrade penstock-runner")
	// ErrJoined is that the runner has a connection to another one already.
	ErrJoined = errors.New("it has a connection already")
	// ErrRefused is wrapped when the other end says no, with its reason.
	ErrRefused = errors.New("refused")
)

// Give gives the process at the other end a copy of a listening socket. The
// connection is of no other use after it, and the descriptor stays the
// caller's. The error wraps ErrRefused where there is a socket already.
func Give(ctx context.Context, conn net.Conn, fd int) error {
	return give(ctx, conn, giveMethod, fd, "")
}

// Join gives the runner at the other end one end of a connection to another
// runner, which has that name, of few letters. The descriptor stays the caller's,
// and conn is to be closed.
//
// Errors: ErrUnsupported, ErrJoined, one that wraps ErrRefused, the context's, or that of
// the connection.
func Join(ctx context.Context, conn net.Conn, fd int, name string) error {
	return give(ctx, conn, joinMethod, fd, name)
}

func give(ctx context.Context, conn net.Conn, method string, fd int, name string) error {
	socket, done, err := begin(ctx, conn, method)
	if err != nil {
		return err
	}
	defer done()
	if err := send(socket, fd, name); err != nil {
		return whyEnded(ctx, err)
	}
	answer, err := io.ReadAll(io.LimitReader(socket, maxText))
	if err != nil {
		return whyEnded(ctx, err)
	}
	switch text := strings.TrimSpace(string(answer)); text {
	case accepted:
		return nil
	case ErrJoined.Error():
		return ErrJoined
	default:
		return fmt.Errorf("%w: %q", ErrRefused, text)
	}
}

// Take asks the process at the other end for a copy of the socket that it was
// given. The descriptor is the caller's to close. The error wraps ErrRefused
// where there is none.
func Take(ctx context.Context, conn net.Conn) (fd int, err error) {
	socket, done, err := begin(ctx, conn, takeMethod)
	if err != nil {
		return -1, err
	}
	defer done()
	if _, err := socket.Write([]byte{'.'}); err != nil {
		return -1, whyEnded(ctx, err)
	}
	fd, text, err := receive(socket, listens)
	switch {
	case err != nil:
		return -1, whyEnded(ctx, err)
	case fd < 0:
		return -1, fmt.Errorf("%w: %q", ErrRefused, strings.TrimSpace(text))
	}
	return fd, nil
}

// begin makes an HTTP connection one of this package, bounded by the context
// until done is called.
func begin(ctx context.Context, conn net.Conn, method string) (socket *net.UnixConn, done func() bool, err error) {
	socket, ok := conn.(*net.UnixConn)
	if !ok {
		return nil, nil, fmt.Errorf("a socket cannot be handed over a %T", conn)
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer func() {
		if err != nil {
			stop()
		}
	}()
	// A header without end must not fill the memory.
	r := bufio.NewReader(io.LimitReader(conn, upgradeBytes))
	switch _, err = upgrade.Ask(conn, r, method, protocol, nil); {
	case errors.Is(err, upgrade.ErrRefused):
		return nil, nil, ErrUnsupported
	case err != nil:
		return nil, nil, whyEnded(ctx, err)
	}
	if r.Buffered() > 0 {
		return nil, nil, errors.New("the runner speaks before it is asked")
	}
	return socket, stop, nil
}

func whyEnded(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}
