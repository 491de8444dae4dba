package api

import (
	"bytes"
	"slices"

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"

	"penstock/rpc/multiplex"
)

// refusal is the answer to a request that no handler may see.
type refusal struct {
	status int
	text   string
}

// maxConnection is the longest Connection header, in bytes: every other header is
// looked for in it.
const maxConnection = 256

// refuse looks at what the parser lets pass. Where a body ends must not be a
// matter of opinion: a proxy in front may be of another, and then what is a
// body to the one is a request to the other. The nil refusal is none.
func refuse(h *fasthttp.RequestHeader, known []string) *refusal {
	switch p := string(h.Protocol()); {
	case p != "HTTP/1.1" && p != "HTTP/1.0":
		return &refusal{fiber.StatusHTTPVersionNotSupported, "Error: this server speaks HTTP/1.1 and HTTP/1.0"}
	case !slices.Contains(known, string(h.Method())):
		// In the words of the engine's own endpoints.
		return &refusal{fiber.StatusMethodNotAllowed, "Incorrect method"}
	}
	var lengths, encodings, hosts int
	var encoding []byte
	for name, value := range rawHeaders(h) {
		switch {
		case !multiplex.ValidHeaderName(name), !multiplex.ValidHeaderValue(value):
			return &refusal{fiber.StatusBadRequest, "Error: the request's headers are not valid HTTP"}
		case len(value) > maxConnection && bytes.EqualFold(name, []byte(fiber.HeaderConnection)):
			return &refusal{fiber.StatusBadRequest, "Error: the request's Connection header is too long"}
		case bytes.EqualFold(name, []byte(fiber.HeaderContentLength)):
			lengths++
		case bytes.EqualFold(name, []byte(fiber.HeaderTransferEncoding)):
			encodings, encoding = encodings+1, value
		case bytes.EqualFold(name, []byte(fiber.HeaderHost)):
			hosts++
		}
	}
	switch {
	case lengths+encodings > 1, encodings == 1 && (!h.IsHTTP11() || !bytes.EqualFold(encoding, []byte("chunked"))):
		return &refusal{fiber.StatusBadRequest,
			"Error: the request does not say clearly where its body ends: send one Content-Length or Transfer-Encoding: chunked"}
	case hosts > 1, hosts == 0 && h.IsHTTP11():
		return &refusal{fiber.StatusBadRequest, "Error: the request must have one Host header"}
	}
	return nil
}

// rawHeaders yields the headers as they were sent, without the white space
// around the values.
func rawHeaders(h *fasthttp.RequestHeader) func(yield func(name, value []byte) bool) {
	return func(yield func(name, value []byte) bool) {
		for line := range bytes.SplitSeq(h.RawHeaders(), []byte("\n")) {
			line = bytes.TrimSuffix(line, []byte("\r"))
			if len(line) == 0 {
				continue
			}
			name, value, _ := bytes.Cut(line, []byte(":"))
			if !yield(name, bytes.Trim(value, " \t")) {
				return
			}
		}
	}
}

// guard answers what is refused before fiber sees it, and closes the
// connection: whatever follows on it is not to be read.
func guard(next fasthttp.RequestHandler, known []string) fasthttp.RequestHandler {
	return func(ctx *fasthttp.RequestCtx) {
		refused := refuse(&ctx.Request.Header, known)
		if refused == nil {
			next(ctx)
			return
		}
		ctx.SetStatusCode(refused.status)
		ctx.SetContentType(fiber.MIMETextPlainCharsetUTF8)
		ctx.Response.Header.Set(fiber.HeaderXContentTypeOptions, "nosniff")
		ctx.SetBodyString(refused.text + "\n")
		linger(ctx)
	}
}
