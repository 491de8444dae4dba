package api

import (
	"fmt"
	"syscall"
	"time"

	"github.com/valyala/fasthttp"
)

// bounds keep clients from holding what they do not use. None of them is
// about an answer or a websocket: these may take for ever.
type bounds struct {
	// head is how long the headers of a request may take from their first
	// byte, those of a connection's first request from its beginning.
	head time.Duration
	// body is how long a request's body may pause.
	body time.Duration
	// idle is how long a connection may wait for its next request.
	idle time.Duration
	// connections is how many a listener has open at the same time.
	connections int
}

const (
	headTime = 10 * time.Second
	bodyTime = time.Minute
	idleTime = 2 * time.Minute

	mostConnections = 4096
	// shareOfFiles says that a listener takes no more than one of so many open
	// files. A request to a stream needs a second one, there are up to three
	// listeners, and the streams need some as well.
	shareOfFiles = 8
)

func usualBounds() bounds {
	b := bounds{head: headTime, body: bodyTime, idle: idleTime, connections: mostConnections}
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err == nil {
		b.connections = int(max(1, min(files.Cur/shareOfFiles, mostConnections)))
	}
	return b
}

// overdueText is what a client is told whose request does not come.
var overdueText = fmt.Sprintf(
	"Error: the request did not come in time: its headers may take %s, and its body may not pause for longer than %s", headTime, bodyTime)

// apply has a server end requests that do not come. It knows deadlines of
// whole requests only: that of a body is moved with every read, by
// requestBody.
func (b bounds) apply(server *fasthttp.Server) {
	server.HeaderReceived = func(*fasthttp.RequestHeader) fasthttp.RequestConfig {
		return fasthttp.RequestConfig{ReadTimeout: b.body}
	}
	answer := server.ErrorHandler
	server.ErrorHandler = func(ctx *fasthttp.RequestCtx, err error) {
		if conn, ok := ctx.Conn().(*connection); ok && !conn.spoke.Load() {
			// An answer to nothing would be taken for that to the first request.
			_ = conn.Close()
			return
		}
		answer(ctx, err)
	}
}
