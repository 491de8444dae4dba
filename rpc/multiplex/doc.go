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
//	  ◀──────────────────────────────────── Credit     one for each piece wanted
//	  ◀────────────────────── Head (answer, first piece)
//	  Credit ──────────────────────────────────────▶
//	  ◀─────────────────────────────────────── Data
//	  Cancel ──────────────────────────────────────▶  the client has gone
//	  ◀───────────────────────────────────── Cancel    the handler gave up
//
// A piece comes when it was asked for, so an exchange whose reader is slow holds up
// nobody else and little is kept of it: one piece, or up to four of a body whose
// length is known, and of all bodies of a process no more than 4 MiB beyond the one
// for each. The last piece says that it is.
//
// A connection begins as HTTP/1.1 and is upgraded, with a method that no client
// can send. Each side says there how many pieces it may be asked for; one of an
// older build does not, and is asked for one.
//
// A runner may be under a tenant's control. What it sends is checked before
// anything is made of it, and a connection that breaks the rules is closed. For
// one that does not read, 16 MiB are kept, and then its callers wait.
//
// It imports rpc/upgrade, of ours. The gateway in package api and package runner
// import it, and supervisor, which has a Client for each runner.
package multiplex
