package integration

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/textproto"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// wire is one TCP connection to a server, for requests that no well-behaved
// client sends. Everything on it ends within requestTimeout.
type wire struct {
	*net.TCPConn
	reader *bufio.Reader
}

func dialWire(t *testing.T, c *client) *wire {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(c.Base, "http://"))
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(requestTimeout)))
	return &wire{TCPConn: conn.(*net.TCPConn), reader: bufio.NewReader(conn)}
}

// crlf ends the lines of a request's head as HTTP wants it.
func crlf(head string) string { return strings.ReplaceAll(head, "\n", "\r\n") }

// send writes bytes as they are.
func (w *wire) send(t *testing.T, text string) {
	t.Helper()
	_, err := io.WriteString(w, text)
	require.NoError(t, err)
}

// answer reads the whole answer to a request of that method.
func (w *wire) answer(method string) (answer, error) {
	// ReadResponse would hide what is twice in the head.
	if err := w.checkHead(); err != nil {
		return answer{}, err
	}
	res, err := http.ReadResponse(w.reader, &http.Request{Method: method})
	if err != nil {
		return answer{}, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return answer{Status: res.StatusCode, Header: res.Header, Body: body}, err
}

func (w *wire) mustAnswer(t *testing.T, method string) answer {
	t.Helper()
	a, err := w.answer(method)
	require.NoError(t, err)
	return a
}

// checkHead looks ahead at the head of an answer for headers that must be
// there once only.
func (w *wire) checkHead() error {
	var head []byte
	for size := 1; ; size++ {
		seen, err := w.reader.Peek(size)
		if end := bytes.Index(seen, []byte("\r\n\r\n")); end >= 0 {
			head = seen[:end+4]
			break
		}
		if err != nil {
			return fmt.Errorf("no whole head, but %q: %w", seen, err)
		}
	}
	reader := textproto.NewReader(bufio.NewReader(bytes.NewReader(head)))
	if _, err := reader.ReadLine(); err != nil {
		return err
	}
	header, err := reader.ReadMIMEHeader()
	if err != nil {
		return err
	}
	for _, name := range []string{"Date", "Content-Length", "Content-Type", "Connection", "Transfer-Encoding", "Server"} {
		if len(header[name]) > 1 {
			return fmt.Errorf("%d times %s in %q", len(header[name]), name, head)
		}
	}
	return nil
}

// rest reads what else comes until the server closes the connection.
func (w *wire) rest() ([]byte, error) {
	if err := w.SetReadDeadline(time.Now().Add(2 * time.Second)); err != nil {
		return nil, err
	}
	rest, err := io.ReadAll(w.reader)
	// A server that closes with bytes of ours unread resets the connection.
	var op *net.OpError
	if errors.As(err, &op) && !op.Timeout() {
		err = nil
	}
	return rest, err
}

// runnerOf returns the process that hosts a stream.
func runnerOf(t testing.TB, c *client, stream string) int {
	t.Helper()
	var stats struct{ Process struct{ PID int } }
	c.getJSON(t, "/streams/"+stream+"/stats", &stats)
	require.NotZero(t, stats.Process.PID)
	return stats.Process.PID
}

// callsOf counts the calls that a stream has.
func callsOf(t testing.TB, c *client, id string) int {
	t.Helper()
	var status struct {
		Calls struct {
			InFlight int `json:"in_flight"`
		}
	}
	c.getJSON(t, "/streams/"+id+"/status", &status)
	return status.Calls.InFlight
}

// awaitCalls waits until a stream has as many calls.
func awaitCalls(t *testing.T, c *client, id string, want int) {
	t.Helper()
	await(t, 10*time.Second, fmt.Sprintf("%d calls", want), func() error {
		if now := callsOf(t, c, id); now != want {
			return fmt.Errorf("there are %d", now)
		}
		return nil
	})
}

// hangUp closes a client's connection to a stream, and waits until the stream
// has lost it.
func hangUp(t *testing.T, c *client, id string, hang func() error) {
	t.Helper()
	before := callsOf(t, c, id)
	require.NotZero(t, before)
	require.NoError(t, hang())
	awaitCalls(t, c, id, before-1)
}

// follower reads the lines that a stream sends while its client stays.
type follower struct {
	*wire
	body *bufio.Reader
}

// follow asks for a path that answers with one message a line. The answer's
// head arrives with the first message only.
func follow(t *testing.T, c *client, path string) *follower {
	t.Helper()
	w := dialWire(t, c)
	w.send(t, "GET "+path+" HTTP/1.1\r\nHost: x\r\n\r\n")
	return &follower{wire: w}
}

// line waits for the next line.
func (f *follower) line(t *testing.T) string {
	t.Helper()
	if f.body == nil {
		res, err := http.ReadResponse(f.reader, nil)
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, res.StatusCode)
		t.Cleanup(func() { res.Body.Close() })
		f.body = bufio.NewReader(res.Body)
	}
	text, err := f.body.ReadString('\n')
	require.NoError(t, err)
	return strings.TrimSuffix(text, "\n")
}
