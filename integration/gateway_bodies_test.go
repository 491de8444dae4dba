package integration

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"mime"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// noise is a body that no compression and no lucky guess gets right.
func noise(size int) []byte {
	body := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(body) // It never fails.
	return body
}

func hashOf(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:])
}

// startBodies starts a server with a stream that answers a body with itself,
// and one that answers with its hash and number of parts.
func startBodies(t *testing.T) *penstock {
	t.Helper()
	p := startPenstock(t)
	p.expect(t, http.StatusOK, http.MethodPost, "/streams/echo", echoYAML)
	p.expect(t, http.StatusOK, http.MethodPost, "/streams/hash", `
input: {http_server: {timeout: 60s}}
pipeline:
  processors:
    - mapping: 'root = content().hash("sha256").encode("hex") + " " + batch_size().string()'
output: {sync_response: {}}
`)
	return p
}

// post sends a body of a known length, or chunked, with headers.
func post(t *testing.T, c *client, path string, body io.Reader, size int64, header http.Header) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, c.Base+path, body)
	require.NoError(t, err)
	req.ContentLength = size
	for name, values := range header {
		req.Header[name] = values
	}
	res, err := c.http.Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	got, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return answer{Status: res.StatusCode, Header: res.Header, Body: got}
}

func TestGatewayBodies(t *testing.T) {
	t.Parallel()
	p := startBodies(t)
	expectContinue := http.Header{"Expect": {"100-continue"}}
	for _, size := range []int{0, 1, 4095, 8192, 8193, 32 << 10, 64<<10 + 1, 3 << 20, 20 << 20} {
		body := noise(size)
		want := hashOf(body)
		for name, send := range map[string]func(path string) answer{
			"sized":   func(path string) answer { return post(t, p.client, path, bytes.NewReader(body), int64(size), nil) },
			"chunked": func(path string) answer { return post(t, p.client, path, readerOnly{bytes.NewReader(body)}, -1, nil) },
			"announced": func(path string) answer {
				return post(t, p.client, path, bytes.NewReader(body), int64(size), expectContinue)
			},
			"announced and chunked": func(path string) answer {
				return post(t, p.client, path, readerOnly{bytes.NewReader(body)}, -1, expectContinue)
			},
		} {
			a := send("/hash/post")
			assert.Equal(t, http.StatusOK, a.Status, "%d bytes %s: %s", size, name, a)
			assert.Equal(t, want+" 1", a.Text(), "%d bytes %s", size, name)
			a = send("/echo/post")
			assert.Equal(t, http.StatusOK, a.Status, "%d bytes %s", size, name)
			assert.Equal(t, want, hashOf(a.Body), "%d bytes %s: %d came back", size, name, len(a.Body))
		}
	}
}

// readerOnly hides all but the reader, so that its length is not known.
type readerOnly struct{ io.Reader }

func TestGatewayMultipart(t *testing.T) {
	t.Parallel()
	p := startBodies(t)
	p.expect(t, http.StatusOK, http.MethodPost, "/streams/parts", `
input: {http_server: {}}
pipeline:
  processors:
    - mapping: 'root = batch_index().string() + ":" + content().string().uppercase()'
output: {sync_response: {}}
`)
	var body bytes.Buffer
	writer := multipart.NewWriter(&body)
	for _, text := range []string{"one", "two\r\n--no boundary\r\n", ""} {
		part, err := writer.CreatePart(textproto.MIMEHeader{"Content-Type": {"text/plain"}, "X-Own": {"y"}})
		require.NoError(t, err)
		_, err = io.WriteString(part, text)
		require.NoError(t, err)
	}
	require.NoError(t, writer.Close())
	header := http.Header{"Content-Type": {writer.FormDataContentType()}}
	for _, size := range []int64{int64(body.Len()), -1} {
		a := post(t, p.client, "/parts/post", readerOnly{bytes.NewReader(body.Bytes())}, size, header)
		require.Equal(t, http.StatusOK, a.Status, "%s", a)
		_, params, err := mime.ParseMediaType(a.Header.Get("Content-Type"))
		require.NoError(t, err)
		reader := multipart.NewReader(bytes.NewReader(a.Body), params["boundary"])
		for _, want := range []string{"0:ONE", "1:TWO\r\n--NO BOUNDARY\r\n", "2:"} {
			part, err := reader.NextPart()
			require.NoError(t, err)
			got, err := io.ReadAll(part)
			require.NoError(t, err)
			assert.Equal(t, want, string(got))
		}
		_, err = reader.NextPart()
		assert.ErrorIs(t, err, io.EOF)
	}
	a := post(t, p.client, "/parts/post", bytes.NewReader([]byte("--x\r\n\r\nno end")), -1, http.Header{"Content-Type": {"multipart/form-data; boundary=x"}})
	assert.Equal(t, http.StatusBadRequest, a.Status, "%s", a)
}

// What is compressed is compressed by the stream, as upstream has it, and the
// gateway leaves it alone, as it does what comes from a client.
func TestGatewayLeavesCompressionAlone(t *testing.T) {
	t.Parallel()
	p := startBodies(t)
	var body bytes.Buffer
	packer := gzip.NewWriter(&body)
	_, err := packer.Write(noise(10_000))
	require.NoError(t, err)
	require.NoError(t, packer.Close())
	plain := strings.Repeat("compress me ", 10_000)
	send := func(path, body string, header http.Header) answer {
		return post(t, p.client, path, strings.NewReader(body), int64(len(body)), header)
	}

	a := send("/hash/post", body.String(), http.Header{"Content-Encoding": {"gzip"}})
	assert.Equal(t, hashOf(body.Bytes())+" 1", a.Text())
	a = send("/echo/post", plain, nil)
	assert.Empty(t, a.Header.Get("Content-Encoding"))
	assert.Equal(t, plain, string(a.Body))
	a = send("/echo/post", plain, http.Header{"Accept-Encoding": {"gzip"}})
	require.Equal(t, "gzip", a.Header.Get("Content-Encoding"))
	unpacker, err := gzip.NewReader(bytes.NewReader(a.Body))
	require.NoError(t, err)
	got, err := io.ReadAll(unpacker)
	require.NoError(t, err)
	assert.Equal(t, plain, string(got))
}

// Large bodies of many clients at once stay apart from each other.
func TestGatewayManyClients(t *testing.T) {
	t.Parallel()
	p := startBodies(t)
	var group sync.WaitGroup
	errs := make(chan error, 16)
	for c := range cap(errs) {
		body := noise(300_000 + c)
		group.Go(func() {
			for range 10 {
				a, err := p.ask(t.Context(), request{Method: http.MethodPost, Path: "/echo/post", Body: string(body)})
				if err == nil && (a.Status != http.StatusOK || hashOf(a.Body) != hashOf(body)) {
					err = fmt.Errorf("client %d got %d bytes of %d: status %d", c, len(a.Body), len(body), a.Status)
				}
				if err != nil {
					errs <- err
					return
				}
			}
		})
	}
	group.Wait()
	close(errs)
	for err := range errs {
		assert.NoError(t, err)
	}
}

// A client that sends its body slowly, or reads its answer slowly, holds
// nobody else up.
func TestGatewaySlowClients(t *testing.T) {
	t.Parallel()
	p := startBodies(t)
	const size = 8 << 20
	body := noise(size)
	reading := dialWire(t, p.client)
	go func() {
		fmt.Fprintf(reading, "POST /echo/post HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n", size)
		_, _ = reading.Write(body)
	}()
	sending := dialWire(t, p.client)
	sending.send(t, "POST /hash/post HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabc")
	for range 20 {
		began := time.Now()
		p.expect(t, http.StatusOK, http.MethodPost, "/echo/post", "quick")
		p.expect(t, http.StatusOK, http.MethodGet, "/streams", "")
		assert.Less(t, time.Since(began), 2*time.Second)
	}
	sending.send(t, "def")
	assert.Equal(t, hashOf([]byte("abcdef"))+" 1", sending.mustAnswer(t, http.MethodPost).Text())
	assert.Equal(t, hashOf(body), hashOf(reading.mustAnswer(t, http.MethodPost).Body))
}
