// Package runner is the process that hosts one stream: it serves the contract
// of package rpc around one engine and keeps the stream's log files.
//
// A runner begins with nobody's config in it. It hosts one stream, once, and
// its process ends when that stream has ended and its supervisor has heard of
// it, so that the memory goes back to the system. A runner that has had no
// supervisor for its orphan timeout drains and ends by itself. How the stream
// ended it leaves in its folder, for a supervisor that could not hear of it.
//
// Only processes of its own user or of root may connect to its sockets, and the
// stream itself may not.
//
// It imports rpc and runner/engine. The binaries below cmd that choose which
// components a runner carries import it, and nothing else does.
package runner
