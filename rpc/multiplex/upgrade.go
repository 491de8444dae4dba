package multiplex

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"time"
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
	// upgradeBytes is what a runner's answer to the upgrade may have.
	upgradeBytes = 16 << 10
)

// ErrUnsupported is that a runner does not know of multiplexed exchanges, which
// those of rpc.ProtocolVersion 2 and later do.
var ErrUnsupported = errors.New("the runner does not multiplex")

// upgrade makes an HTTP connection one of frames. What was read of it already
// is in the reader.
func upgrade(ctx context.Context, conn net.Conn) (*bufio.Reader, error) {
	ctx, cancel := context.WithTimeout(ctx, upgradeTime)
	defer cancel()
	intime := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer intime()
	_, err := fmt.Fprintf(conn, "%s / HTTP/1.1\r\nHost: runner\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n", upgradeMethod, protocol)
	if err != nil {
		return nil, err
	}
	// A header without end must not fill the memory.
	bounded := &io.LimitedReader{R: conn, N: upgradeBytes}
	r := bufio.NewReaderSize(bounded, readBuffer)
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, err
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusSwitchingProtocols || resp.Header.Get("Upgrade") != protocol {
		return nil, ErrUnsupported
	}
	if !intime() {
		return nil, ctx.Err()
	}
	bounded.N = math.MaxInt64
	return r, nil
}

// Handler serves the multiplexed exchanges that a connection is upgraded to by
// exchanges, and all other requests by next.
func Handler(exchanges, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != upgradeMethod {
			next.ServeHTTP(w, r)
			return
		}
		hijacker, ok := w.(http.Hijacker)
		if !ok || r.Header.Get("Upgrade") != protocol {
			http.Error(w, "this runner speaks "+protocol, http.StatusUpgradeRequired)
			return
		}
		conn, buffered, err := hijacker.Hijack()
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		defer conn.Close()
		_, err = fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n", protocol)
		if err != nil {
			return
		}
		rest := io.LimitReader(buffered, int64(buffered.Reader.Buffered()))
		serve(conn, bufio.NewReaderSize(io.MultiReader(rest, conn), readBuffer), exchanges)
	})
}
