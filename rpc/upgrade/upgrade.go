package upgrade

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
)

// ErrRefused is that the other end does not speak the protocol: it is of another
// version.
var ErrRefused = errors.New("the runner does not speak that protocol")

// Ask asks the server at the other end for the protocol, with further headers. The
// answer, of which it returns the headers, is read from r, which has what has come
// after it. Deadlines are the caller's.
//
// Errors: ErrRefused, or why nothing could be sent or read.
func Ask(conn io.Writer, r *bufio.Reader, method, protocol string, with http.Header) (http.Header, error) {
	if _, err := fmt.Fprintf(conn, "%s / HTTP/1.1\r\nHost: runner\r\nConnection: Upgrade\r\nUpgrade: %s\r\n%s\r\n", method, protocol, lines(with)); err != nil {
		return nil, err
	}
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		return nil, err
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusSwitchingProtocols || resp.Header.Get("Upgrade") != protocol {
		return nil, ErrRefused
	}
	return resp.Header, nil
}

// lines are headers as they are sent.
func lines(h http.Header) string {
	var text strings.Builder
	_ = h.Write(&text)
	return text.String()
}

// Accept answers who has asked, with further headers, and takes the connection from the server. It is
// the caller's to close, and what was read of it already is in the reader. With
// ok false the request was answered otherwise, or the connection has ended.
func Accept(w http.ResponseWriter, r *http.Request, protocol string, with http.Header) (conn net.Conn, buffered *bufio.Reader, ok bool) {
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
	if _, err = fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\n%s\r\n", protocol, lines(with)); err != nil {
		_ = conn.Close()
		return nil, nil, false
	}
	return conn, both.Reader, true
}
