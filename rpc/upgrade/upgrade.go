package upgrade

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
)

// ErrRefused is that the other end does not speak the protocol: it is of another
// version.
var ErrRefused = errors.New("the runner does not speak that protocol")

// Ask asks the server at the other end for the protocol. The answer is read from
// r, which has what has come after it. Deadlines are the caller's.
//
// Errors: ErrRefused, or why nothing could be sent or read.
func Ask(conn io.Writer, r *bufio.Reader, method, protocol string) error {
	if _, err := fmt.Fprintf(conn, "%s / HTTP/1.1\r\nHost: runner\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n", method, protocol); err != nil {
		return err
	}
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		return err
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusSwitchingProtocols || resp.Header.Get("Upgrade") != protocol {
		return ErrRefused
	}
	return nil
}

// Accept answers who has asked, and takes the connection from the server. It is
// the caller's to close, and what was read of it already is in the reader. With
// ok false the request was answered otherwise, or the connection has ended.
func Accept(w http.ResponseWriter, r *http.Request, protocol string) (conn net.Conn, buffered *bufio.Reader, ok bool) {
	hijacker, ok := w.(http.Hijacker)
	if !ok || r.Header.Get("Upgrade") != protocol {
		http.Error(w, "this runner speaks "+protocol, http.StatusUpgradeRequired)
		return nil, nil, false
	}
	conn, both, err := hijacker.Hijack()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return nil, nil, false
	}
	if _, err = fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n", protocol); err != nil {
		_ = conn.Close()
		return nil, nil, false
	}
	return conn, both.Reader, true
}
