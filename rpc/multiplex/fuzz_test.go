package multiplex

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/http/httpguts"
)

// FuzzAnswer sends a supervisor what a runner may send. Whatever it is, the call
// ends, and what it is told of can stand in an answer as it is.
func FuzzAnswer(f *testing.F) {
	good := frameOf(1, 0, 1, answerOf(200, 7, "he", "Content-Type", "text/plain", "X", ""))
	for _, seed := range [][]byte{
		nil, good, append(bytes.Clone(good), frameOf(2, 1, 1, []byte("llo!!"))...), frameOf(4, 0, 1, nil), frameOf(3, 0, 1, nil),
		frameOf(1, 1, 1, answerOf(204, -1, "")), frameOf(1, 1, 1, answerOf(99999, 0, "")),
		frameOf(1, 1, 1, answerOf(200, 0, "", "X\r\nY", "a\r\nb")), frameOf(1, 1, 1, headed([]byte{0xff, 0xff}, "")),
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		ours, theirs := net.Pipe()
		go func() {
			var space [headerSize]byte
			r := bufio.NewReader(theirs)
			_, _ = readFrame(r, &space)
			go func() { _, _ = io.Copy(io.Discard, r) }()
			_, _ = theirs.Write(text)
			theirs.Close()
		}()
		conn := newClientConn(ours, bufio.NewReader(ours), mostAhead, idleTime)
		o, _ := call{method: "POST", uri: "/", stream: strings.NewReader(""), length: -1}.outgoing()
		call, err := conn.start(o, true)
		require.NoError(t, err)
		got := read(call)
		if got.err == nil {
			require.Equal(t, Answered, got.outcome)
			require.True(t, got.Status >= 200 && got.Status <= 999, got.Status)
			if got.ContentLength >= 0 {
				require.LessOrEqual(t, int64(len(got.body)), got.ContentLength)
			}
		}
		for name, values := range got.header {
			require.True(t, httpguts.ValidHeaderFieldName(name), "%q", name)
			for _, value := range values {
				require.True(t, httpguts.ValidHeaderFieldValue(value), "%q", value)
			}
		}
		call.End()
		conn.fail(errClosed)
		require.Empty(t, conn.calls)
	})
}

// FuzzRequest sends a runner what a supervisor may send. Whatever it is, the
// handlers end with the connection.
func FuzzRequest(f *testing.F) {
	o, _ := call{method: "POST", uri: "/a?b", body: []byte("hello"), first: -1, header: [][2]string{{"x-a", "b"}}}.outgoing()
	good, err := o.finish(1, true)
	require.NoError(f, err)
	open := bytes.Clone(good)
	open[1] = 0
	for _, seed := range [][]byte{
		nil, good, append(bytes.Clone(good), good...), open, append(bytes.Clone(open), frameOf(2, 1, 1, []byte("more"))...),
		append(bytes.Clone(open), frameOf(4, 0, 1, nil)...), frameOf(1, 1, 1, headed(binary.AppendVarint(nil, -5), "")),
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		ours, theirs := net.Pipe()
		var begun, ended atomic.Int64
		served := make(chan struct{})
		go func() {
			defer close(served)
			serve(theirs, bufio.NewReader(theirs), 1, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				begun.Add(1)
				defer ended.Add(1)
				if r.URL == nil || r.Header == nil || r.Body == nil {
					panic("a request without what each has")
				}
				_, _ = io.Copy(w, r.Body)
			}))
		}()
		drained := make(chan struct{})
		go func() {
			defer close(drained)
			_, _ = io.Copy(io.Discard, ours)
		}()
		_, _ = ours.Write(text)
		ours.Close()
		<-served
		<-drained
		await(t, "the handlers to end", func() bool { return begun.Load() == ended.Load() })
	})
}
