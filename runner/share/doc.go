// Package share connects the runners of streams with a resource host: the
// runner that has the caches and rate limits which all streams use, and the
// pipes between their inproc outputs and inputs.
//
// A Link is the end in a stream's runner. It has at most one connection, which
// the supervisor makes, and waits when it has none: what was asked and not
// answered is asked again on the next. Serve is the end in the host, and Pipes
// what passes batches from one stream to another there.
//
//	stream's runner            resource host            stream's runner
//	output ── PUSH ──────────▶ pipe
//	                           pipe ◀────────── PULL ── input
//	                           pipe ── batch ─────────▶ input
//	                           pipe ◀──────── SETTLE ── input
//	output ◀─────── verdict ── pipe
//
// Requests of one connection are under way side by side, and what is to be
// written while another write is under way goes with the next one.
//
// What one runner can have the host hold is bounded: connections, requests, bytes,
// and how many elements a request has, which cost more than their bytes.
//
// It knows nothing of the engine, and imports rpc/sharepb, of ours. runner and
// runner/engine import it.
package share
