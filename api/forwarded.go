package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gofiber/fiber/v2"

	"penstock/rpc/multiplex"
	"penstock/supervisor"
	"penstock/supervisor/calls"
)

const (
	// wholeBody is how long a body may be that is sent with its request, once
	// all of it is there. Longer ones are sent as they come.
	wholeBody = 64 << 10
	// keptRequest is how large the memory of a request may be that is used
	// again.
	keptRequest = 128 << 10
	// watchReadsAfter is watchAfter for what may have to wait for a message.
	watchReadsAfter = 5 * time.Millisecond
)

var requestMemory = sync.Pool{New: func() any {
	memory := make([]byte, 0, 1<<10)
	return &memory
}}

// hopByHop says that a header is about one connection only.
func hopByHop(name []byte) bool {
	switch len(name) {
	case 2:
		return isHeader(name, "Te")
	case 7:
		return isHeader(name, "Trailer") || isHeader(name, "Upgrade")
	case 10:
		return isHeader(name, "Connection") || isHeader(name, "Keep-Alive")
	case 16:
		return isHeader(name, "Proxy-Connection")
	case 17:
		return isHeader(name, "Transfer-Encoding")
	case 18:
		return isHeader(name, "Proxy-Authenticate")
	case 19:
		return isHeader(name, "Proxy-Authorization")
	}
	return false
}

func isHeader(name []byte, want string) bool {
	return len(name) == len(want) && bytes.EqualFold(name, []byte(want))
}

// tokenIn says that a comma-separated list has the name.
func tokenIn(list string, name []byte) bool {
	for token := range strings.SplitSeq(list, ",") {
		if isHeader(name, strings.TrimSpace(token)) {
			return true
		}
	}
	return false
}

func parseTarget(target string) (*url.URL, error) {
	u, err := url.ParseRequestURI(target)
	if err != nil {
		return nil, fmt.Errorf("the request's path cannot be read: %w", err)
	}
	return u, nil
}

// outgoing makes the request to the runner out of the one that came in, with
// the first piece of its body. last says that this is all of it.
func (s *Server) outgoing(c *fiber.Ctx, body *requestBody, memory []byte) (o multiplex.Outgoing, last bool, err error) {
	in := &c.Request().Header
	head := multiplex.RequestHead{
		Method: in.Method(), URI: in.RequestURI(), Host: []byte(hostOf(c)),
		RemoteAddr: peerOf(c).text,
	}
	if !body.consumed() {
		head.ContentLength = int64(max(in.ContentLength(), -1))
	}
	o = multiplex.NewOutgoing(memory, &head)
	connection := string(in.Peek(fiber.HeaderConnection))
	for name, value := range s.endToEnd(c) {
		if connection == "" || !tokenIn(connection, name) {
			o.Header(name, value)
		}
	}
	from := s.forwardedFor(c)
	o.HeaderString(fiber.HeaderXForwardedFor, from.client)
	o.HeaderString(fiber.HeaderXForwardedHost, from.host)
	o.HeaderString(fiber.HeaderXForwardedProto, from.proto)
	last, err = firstPiece(&o, body, head.ContentLength)
	return o, last, err
}

// peerOf is the other side of a request's connection.
func peerOf(c *fiber.Ctx) peer {
	if conn, ok := c.Context().Conn().(*connection); ok {
		return conn.peer
	}
	return newPeer(c.Context().RemoteAddr())
}

// endToEnd yields the headers of a request that are the stream's business, as
// they were sent: the parser makes its own of some, such as cookies.
func (s *Server) endToEnd(c *fiber.Ctx) func(yield func(name, value []byte) bool) {
	return func(yield func(name, value []byte) bool) {
		for name, value := range rawHeaders(&c.Request().Header) {
			if s.kept(name) && !yield(name, value) {
				return
			}
		}
	}
}

// ours are headers that the server itself tells a stream, whatever a client
// says in them, or that are meant for the server.
var ours = []string{
	fiber.HeaderHost, fiber.HeaderExpect, supervisor.RemoteAddrHeader,
	fiber.HeaderXForwardedFor, fiber.HeaderXForwardedHost, fiber.HeaderXForwardedProto,
	calls.AsyncHeader, calls.CallbackHeader, calls.IDHeader, calls.AttemptHeader,
}

// kept says that a header of a request is the stream's business.
func (s *Server) kept(name []byte) bool {
	if isHeader(name, fiber.HeaderAuthorization) {
		// Where it is the server's own: headers become metadata that a stream can
		// read.
		return s.tokens.all == ""
	}
	return !hopByHop(name) && !slices.ContainsFunc(ours, func(header string) bool { return isHeader(name, header) })
}

// origin is who asked for what, as X-Forwarded-For, -Host and -Proto have it.
type origin struct{ client, host, proto string }

func (o origin) set(h http.Header) {
	h.Set(fiber.HeaderXForwardedFor, o.client)
	h.Set(fiber.HeaderXForwardedHost, o.host)
	h.Set(fiber.HeaderXForwardedProto, o.proto)
}

// hostOf is the host that a request is for. What a whole URL names goes before
// what the header does.
func hostOf(c *fiber.Ctx) string {
	in := &c.Request().Header
	if target := in.RequestURI(); len(target) > 0 && target[0] != '/' {
		if u, err := parseTarget(string(target)); err == nil && u.Host != "" {
			return u.Host
		}
	}
	return string(in.Host())
}

// forwardedFor tells it of a request. A proxy that is trusted is believed; of
// what streams say of themselves, on the listener of their own, nothing is.
func (s *Server) forwardedFor(c *fiber.Ctx) origin {
	in := &c.Request().Header
	o := origin{host: hostOf(c), proto: "http"}
	peer := peerOf(c)
	o.client = peer.ip
	if !peer.addr.IsValid() || c.App() == s.functions ||
		!slices.ContainsFunc(s.proxies, func(p netip.Prefix) bool { return p.Contains(peer.addr) }) {
		return o
	}
	if before := in.PeekAll(fiber.HeaderXForwardedFor); len(before) > 0 {
		o.client = string(bytes.Join(before, []byte(", "))) + ", " + peer.ip
	}
	if host := in.Peek(fiber.HeaderXForwardedHost); len(host) > 0 {
		o.host = string(host)
	}
	if proto := in.Peek(fiber.HeaderXForwardedProto); len(proto) > 0 {
		o.proto = string(proto)
	}
	return o
}

// firstPiece reads the first piece of a body. A short one is read to its end, so
// that a slow client has nothing of the stream's until then.
func firstPiece(o *multiplex.Outgoing, body *requestBody, length int64) (last bool, err error) {
	if body.consumed() {
		return true, nil
	}
	size := wholeBody
	if length >= 0 && length < wholeBody {
		// One more, to see its end.
		size = int(length) + 1
	}
	space := o.Room(size)
	filled := 0
	for filled < len(space) && err == nil {
		var n int
		n, err = body.Read(space[filled:])
		filled += n
		if length < 0 || length > wholeBody {
			break
		}
	}
	o.Filled(filled)
	switch {
	case errors.Is(err, io.EOF):
		return true, nil
	case err != nil:
		return false, unreadable(err)
	}
	return body.consumed(), nil
}

// upload sends the rest of a body beside the wait for the answer.
type upload struct {
	body   *requestBody
	cancel context.CancelFunc
	done   chan struct{}
}

func begin(call *multiplex.Call, body *requestBody) *upload {
	ctx, cancel := context.WithCancel(context.Background())
	u := &upload{body: body, cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(u.done)
		// The body keeps its own fault, and a call that is lost is noticed by who
		// waits for its answer.
		if err := call.WriteBody(ctx, body); err != nil && body.fault() != nil {
			call.Abort()
		}
	}()
	return u
}

// end takes the body back, from a runner that may have answered without reading
// all of it. A read that is under way ends soon.
func (u *upload) end() {
	u.cancel()
	if !u.body.consumed() {
		u.body.hurry()
		defer u.body.patient()
	}
	<-u.done
}

// timer is one that is used again.
type timer struct{ *time.Timer }

var timers = sync.Pool{New: func() any {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return &timer{t}
}}

func takeTimer(d time.Duration) *timer {
	t := timers.Get().(*timer)
	t.Reset(d)
	return t
}

func (t *timer) giveBack() {
	t.Stop()
	timers.Put(t)
}

func onceClose(c chan struct{}) func() { return sync.OnceFunc(func() { close(c) }) }
