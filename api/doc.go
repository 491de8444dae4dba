// Package api is the HTTP server: the Streams API as upstream's clients know
// it, and the gateway to the streams' own HTTP endpoints.
//
// Handlers are thin: they decode, call the supervisor and encode. Errors
// become answers in one place, errors.go. The gateway forwards what no route
// of the API takes to the runner whose stream it belongs to.
//
// Answers that go on, events and logs that are followed, end when their client
// has gone, when their stream is deleted and when the server shuts down.
//
// It imports supervisor and, for what passes through it, supervisor/document,
// supervisor/events, supervisor/logs and supervisor/stats. Only cmd and configs
// import it.
package api
