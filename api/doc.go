// Package api is the HTTP server: the Streams API as upstream's clients know
// it, and the gateway to the streams' own HTTP endpoints.
//
// Handlers are thin: they decode, call the supervisor and encode. Errors
// become answers in one place, errors.go. The gateway forwards what no route
// of the API takes to the runner whose stream it belongs to.
//
// A second listener, where the streams themselves are led to, has the gateway
// and nothing of the API. The same holds for callers whose token is for that.
//
// What clients may hold without using it is bounded, in bounds.go: connections,
// headers that do not come, bodies that pause.
//
// Answers that go on, events and logs that are followed, end when their client
// has gone, when their stream is deleted and when the server shuts down.
//
// Calls that are to be carried out later are told apart before anything is
// forwarded, in async.go; what becomes of them is answered in calls.go.
//
// It imports supervisor and, for what passes through it, supervisor/calls,
// supervisor/document, supervisor/events, supervisor/logs and supervisor/stats. Only cmd and configs
// import it.
package api
