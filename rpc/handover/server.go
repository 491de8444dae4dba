package handover

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"penstock/rpc/upgrade"
)

// exchangeTime bounds one exchange on the side that serves it.
const exchangeTime = 5 * time.Second

// Holder is who has the socket in the process that was given it.
type Holder interface {
	// Hold takes a listening socket over, with its descriptor. An error says
	// why not, and the descriptor was closed then.
	Hold(fd int) error
	// Lend calls use with the descriptor, which is valid for so long. An error
	// says why there is none.
	Lend(use func(fd int) error) error
	// Join takes a connection over, with its descriptor, of the process of that
	// name at the other end; the name is empty where nobody has said one. An error
	// says why not, ErrJoined among others, and the descriptor was closed then.
	Join(fd int, name string) error
}

// Handler serves the exchanges of this package, and all other requests by next.
func Handler(holder Holder, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != giveMethod && r.Method != takeMethod && r.Method != joinMethod {
			next.ServeHTTP(w, r)
			return
		}
		conn, buffered, ok := upgrade.Accept(w, r, protocol, nil)
		if !ok {
			return
		}
		defer conn.Close()
		socket, ok := conn.(*net.UnixConn)
		if !ok || buffered.Buffered() > 0 || conn.SetDeadline(time.Now().Add(exchangeTime)) != nil {
			return
		}
		switch r.Method {
		case giveMethod:
			hold(socket, listens, func(fd int, _ string) error { return holder.Hold(fd) })
		case joinMethod:
			hold(socket, connects, holder.Join)
		default:
			lend(socket, holder)
		}
	})
}

func hold(socket *net.UnixConn, check func(fd int) error, take func(fd int, name string) error) {
	fd, name, err := receive(socket, check)
	switch {
	case err == nil && fd < 0:
		return
	case err == nil:
		err = take(fd, strings.TrimPrefix(name, filler))
	}
	if err != nil {
		_, _ = fmt.Fprintf(socket, "%.*s\n", maxText-1, err)
		return
	}
	_, _ = fmt.Fprintln(socket, accepted)
}

func lend(socket *net.UnixConn, holder Holder) {
	if _, err := socket.Read(make([]byte, 1)); err != nil {
		return
	}
	if err := holder.Lend(func(fd int) error { return send(socket, fd, "") }); err != nil {
		_, _ = fmt.Fprintf(socket, "%.*s\n", maxText-1, err)
	}
}
