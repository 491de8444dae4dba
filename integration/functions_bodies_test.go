package integration

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// largeYAML answers with 64 MiB, or with the hash of what it is sent.
const largeYAML = `
input: {http_server: {path: /post, timeout: 60s}}
pipeline:
  threads: 4
  processors:
    - mapping: |
        root = match {
          content().length() > 100 => content().hash("sha256").encode("hex"),
          content().string() == "large" => "0123456789abcdef".repeat(4194304),
          _ => content(),
        }
output: {sync_response: {}}
`

const largeSize = 64 << 20

// peakMemory is the most memory that a process has had, in bytes.
func peakMemory(t *testing.T, pid int) int {
	t.Helper()
	peak, err := peakOf(pid)
	require.NoError(t, err)
	return peak
}

func peakOf(pid int) (int, error) {
	text, err := os.ReadFile(procFile(pid, "status"))
	if err != nil {
		return 0, err
	}
	found := regexp.MustCompile(`VmHWM:\s+(\d+) kB`).FindSubmatch(text)
	if found == nil {
		return 0, fmt.Errorf("process %d has no memory", pid)
	}
	kilobytes, err := strconv.Atoi(string(found[1]))
	return kilobytes << 10, err
}

// Bodies of 64 MiB pass through the supervisor, and take no memory of it that
// grows with them.
func TestFunctionsLargeBodies(t *testing.T) {
	t.Parallel()
	p := startPenstock(t, quickStop...)
	p.expect(t, 200, "POST", "/streams/large", largeYAML)
	p.expect(t, 200, "POST", "/large/post", "small")
	before := peakMemory(t, p.PID)
	body := noise(largeSize)
	for _, size := range []int64{largeSize, -1} {
		a := post(t, p.client, "/large/post", io.MultiReader(bytes.NewReader(body)), size, nil)
		require.Equal(t, 200, a.Status, "%s", a)
		assert.Equal(t, hashOf(body), a.Text())
	}
	want := hashOf(bytes.Repeat([]byte("0123456789abcdef"), largeSize/16))
	for range 3 {
		a := p.expect(t, 200, "POST", "/large/post", "large")
		assert.Equal(t, want, hashOf(a.Body))
	}
	assert.Less(t, peakMemory(t, p.PID)-before, largeSize/2, "the supervisor's memory")
}

// A client that does not read 64 MiB, and one that does not send its body, hold
// up nobody who calls the same stream; and nothing is left of clients that
// leave.
func TestFunctionsSlowAndLost(t *testing.T) {
	t.Parallel()
	p := startPenstock(t, quickStop...)
	p.expect(t, 200, "POST", "/streams/large", largeYAML)
	files, err := openFiles(p.PID)
	require.NoError(t, err)

	reading := dialWire(t, p.client)
	reading.send(t, "POST /large/post HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nlarge")
	_, err = reading.reader.Peek(1)
	require.NoError(t, err, "the answer begins")
	sending := dialWire(t, p.client)
	sending.send(t, "POST /large/post HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
	awaitCalls(t, p.client, "large", 2)
	for i := range 50 {
		began := time.Now()
		require.Equal(t, fmt.Sprint(i), p.expect(t, 200, "POST", "/large/post", fmt.Sprint(i)).Text())
		assert.Less(t, time.Since(began), margin)
	}

	for name, leave := range map[string]func(w *wire) error{
		"closes": func(w *wire) error { return w.Close() },
		"resets": func(w *wire) error { return errors.Join(w.SetLinger(0), w.Close()) },
	} {
		for range 3 {
			up, down := dialWire(t, p.client), dialWire(t, p.client)
			up.send(t, "POST /large/post HTTP/1.1\r\nHost: a\r\nContent-Length: 10000000\r\n\r\n"+string(make([]byte, 200_000)))
			down.send(t, "POST /large/post HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nlarge")
			_, err := down.reader.Peek(1)
			require.NoError(t, err)
			awaitCalls(t, p.client, "large", 4)
			require.NoError(t, leave(up), name)
			require.NoError(t, leave(down), name)
			awaitCalls(t, p.client, "large", 2)
		}
	}
	sending.send(t, "3\r\ndef\r\n0\r\n\r\n")
	assert.Equal(t, "abcdef", sending.mustAnswer(t, http.MethodPost).Text())
	assert.Len(t, reading.mustAnswer(t, http.MethodPost).Body, largeSize)
	require.NoError(t, errors.Join(sending.Close(), reading.Close()))
	p.close()
	await(t, changeTimeout, "the connections to be closed", func() error {
		now, err := openFiles(p.PID)
		if err == nil && now > files+3 {
			err = fmt.Errorf("%d files are open, %d were", now, files)
		}
		return err
	})
}
