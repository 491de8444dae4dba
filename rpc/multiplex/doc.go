// Package multiplex carries the HTTP exchanges of one stream over one
// connection between the supervisor and a runner, many at a time.
//
// A request of the usual size costs a frame each way, and frames that are due
// at the same time share their system calls: with a connection for every
// request under way, going to sleep and waking up cost more than the requests.
//
//	supervisor                                   runner
//	  Head (request, first piece of body) ─────────▶
//	  Data ────────────────────────────────────────▶  as long as there is body
//	  ◀──────────────────────────────────── Credit     one for each piece taken
//	  ◀────────────────────── Head (answer, first piece)
//	  Credit ──────────────────────────────────────▶
//	  ◀─────────────────────────────────────── Data
//	  Cancel ──────────────────────────────────────▶  the client has gone
//	  ◀───────────────────────────────────── Cancel    the handler gave up
//
// Each side may have one piece of a body under way that the other has not
// taken, so an exchange whose reader is slow holds up nobody else and no more
// than one piece is kept of it. The last piece says that it is.
//
// A connection begins as HTTP/1.1 and is upgraded, with a method that no client
// can send.
//
// A runner may be under a tenant's control. What it sends is checked before
// anything is made of it, and a connection that breaks the rules is closed. For
// one that does not read, 16 MiB are kept, and then its callers wait.
//
// It imports rpc/upgrade, of ours. The gateway in package api and package runner
// import it, and supervisor, which has a Client for each runner.
package multiplex
