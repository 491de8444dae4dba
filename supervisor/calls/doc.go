// Package calls carries out asynchronous calls of streams: each is kept before
// it is acknowledged, carried out when its stream can be called, and its result
// kept until it was delivered. It exists so that whoever was told "accepted"
// gets an answer, whatever dies in between.
//
//	Submit ──▶ one synced transaction for all that wait ──▶ 202
//	             │
//	             ▼ a lane for each stream: by arrival, so many at a time
//	           Streams.Await, Streams.Call ──▶ result, synced
//	             │                               │
//	             └─ again, after a pause         ├─▶ fetched, until it expires
//	                                             └─▶ a lane of callbacks: POST, again after a pause
//
// # What is promised
//
// A call that Submit returned is carried out at least once, or fails with a
// reason that says why it was not. After a crash it may be carried out once more:
// AttemptHeader tells a stream that this may be so, and IDHeader which call it is.
// 1 is certainly the first attempt; a higher number is how often it may have been
// carried out, this time included. Attempts that the end of the supervisor cut
// off do not count as failures.
//
// What is carried out begins in the order of arrival. A call that waits for its
// next attempt lets others pass.
//
// # Room
//
// Everything that is kept counts: bodies, headers, results, and overhead for each
// call. An attempt begins only when the largest result has room, and a call is
// accepted only when that would still be so: what was accepted can always be
// carried out, once the results before it were fetched or have expired.
//
// # Format
//
// DATA/calls.db, a bbolt file of its own, since its commits are many and large
// and must not delay those of state.db. Each value begins with a checksum of its
// bucket, key and contents.
//
//	bucket    key             value
//	meta      schema          version of this format, a number
//	meta      clean           whether the last supervisor has closed the file
//	calls     number, 8 bytes record, JSON, read strictly
//	requests  number, 8 bytes headers and body, as message writes them
//	results   number, 8 bytes headers and body, as message writes them
//
// # Callbacks
//
// The server may run as root beside services that trust whoever can reach them.
// So a callback goes nowhere unless the operator has allowed it, which is looked
// at when the call is accepted and again when the connection is made, with the
// address that the name stands for at that moment. Redirects are not followed and
// no proxy is used.
//
// The package may import supervisor/options for sizes and supervisor/store for
// files that are verified. Carrying out is a small interface, Streams.
package calls
