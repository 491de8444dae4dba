package runner

import (
	"context"
	"errors"
	"net"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

// errStranger ends a connection of somebody who is not the supervisor.
var errStranger = errors.New("the caller is not the supervisor")

// peerListener accepts the supervisor's connections and drops all others: it
// runs as the same user as the runner, or as root, and is not the runner. The
// folder's mode says the same, but a mode can be changed behind the runner's
// back.
type peerListener struct{ net.Listener }

// Accept implements net.Listener.
func (l peerListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if fromSupervisor(conn) {
			return conn, nil
		}
		_ = conn.Close()
	}
}

// peerCredentials do for gRPC what peerListener does for HTTP: go-plugin makes
// the listener itself.
type peerCredentials struct {
	credentials.TransportCredentials
}

func newPeerCredentials() credentials.TransportCredentials {
	return peerCredentials{insecure.NewCredentials()}
}

// ServerHandshake implements credentials.TransportCredentials.
func (c peerCredentials) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	if !fromSupervisor(conn) {
		return nil, nil, errStranger
	}
	return c.TransportCredentials.ServerHandshake(conn)
}

// ClientHandshake implements credentials.TransportCredentials: a runner calls
// nobody.
func (c peerCredentials) ClientHandshake(context.Context, string, net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, errors.ErrUnsupported
}

// Clone implements credentials.TransportCredentials.
func (c peerCredentials) Clone() credentials.TransportCredentials { return newPeerCredentials() }
