package process

import (
	"context"
	"fmt"
	"net"

	"google.golang.org/grpc/credentials"
)

// peerCredentials speak to one process only: a runner can put anything in the
// place of its sockets, another runner's socket too, and what is sent there
// would be taken for the supervisor's own wish.
type peerCredentials struct {
	credentials.TransportCredentials
	pid func() int
}

// ClientHandshake implements credentials.TransportCredentials.
func (c peerCredentials) ClientHandshake(ctx context.Context, authority string, conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	if err := isPeer(conn, c.pid()); err != nil {
		return nil, nil, err
	}
	return c.TransportCredentials.ClientHandshake(ctx, authority, conn)
}

// Clone implements credentials.TransportCredentials.
func (c peerCredentials) Clone() credentials.TransportCredentials {
	return peerCredentials{c.TransportCredentials.Clone(), c.pid}
}

// Dial connects to a unix socket that the process listens on. It fails when
// anybody else does.
func (p *Process) Dial(ctx context.Context, socket string) (net.Conn, error) {
	conn, err := dialSocket(ctx, socket)
	if err != nil {
		return nil, err
	}
	if err := isPeer(conn, p.PID()); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return conn, nil
}

// isPeer says whether a connection is to the process with that id.
func isPeer(conn net.Conn, pid int) error {
	got, known, err := peerOf(conn)
	switch {
	case err != nil:
		return err
	case known && got != pid:
		return fmt.Errorf("process %d listens on the socket of process %d", got, pid)
	}
	return nil
}
