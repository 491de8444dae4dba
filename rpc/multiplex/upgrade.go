package multiplex

import (
	"bufio"
	"context"
	"errors"
	"io"
	"math"
	"net"
	"net/http"
	"time"

	upgrading "penstock/rpc/upgrade"
)

const (
	// upgradeMethod cannot be sent by a client of the gateway, which refuses
	// methods that it does not know.
	upgradeMethod = "MULTIPLEX"
	protocol      = "penstock-multiplex/1"
	// upgradeTime bounds the beginning of a connection.
	upgradeTime = 5 * time.Second
	// readBuffer is what is read at once. Larger payloads are read past it.
	readBuffer = 16 << 10
	// writeBuffer is what may be written and not read, in bytes: more than the usual
	// of 208 KiB, which splits each piece, and not more than every system grants.
	writeBuffer = 208 << 10
	// upgradeBytes is what a runner's answer to the upgrade may have.
	upgradeBytes = 16 << 10
)

// ErrUnsupported is that a runner does not know of multiplexed exchanges, which
// those of rpc.ProtocolVersion 2 and later do.
var ErrUnsupported = errors.New("the runner does not multiplex")

// upgrade makes an HTTP connection one of frames. What was read of it already
// is in the reader. ahead is how many pieces the runner has under way.
func upgrade(ctx context.Context, conn net.Conn) (r *bufio.Reader, ahead int, err error) {
	ctx, cancel := context.WithTimeout(ctx, upgradeTime)
	defer cancel()
	intime := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer intime()
	// A header without end must not fill the memory.
	bounded := &io.LimitedReader{R: conn, N: upgradeBytes}
	r = bufio.NewReaderSize(bounded, readBuffer)
	header, err := upgrading.Ask(conn, r, upgradeMethod, protocol, aheadHeaders())
	switch {
	case errors.Is(err, upgrading.ErrRefused):
		return nil, 0, ErrUnsupported
	case err != nil && ctx.Err() != nil:
		return nil, 0, ctx.Err()
	case err != nil:
		return nil, 0, err
	}
	if !intime() {
		return nil, 0, ctx.Err()
	}
	bounded.N = math.MaxInt64
	widen(conn)
	return r, aheadOf(header), nil
}

// widen has room for a whole piece between a connection's ends, so that it is
// written at once. The kernel takes twice as much for its own book-keeping.
func widen(conn net.Conn) {
	if socket, ok := conn.(interface{ SetWriteBuffer(bytes int) error }); ok {
		_ = socket.SetWriteBuffer(writeBuffer)
	}
}

// Handler serves the multiplexed exchanges that a connection is upgraded to by
// exchanges, and all other requests by next.
func Handler(exchanges, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != upgradeMethod {
			next.ServeHTTP(w, r)
			return
		}
		conn, buffered, ok := upgrading.Accept(w, r, protocol, aheadHeaders())
		if !ok {
			return
		}
		defer conn.Close()
		widen(conn)
		rest := io.LimitReader(buffered, int64(buffered.Buffered()))
		serve(conn, bufio.NewReaderSize(io.MultiReader(rest, conn), readBuffer), aheadOf(r.Header), exchanges)
	})
}
