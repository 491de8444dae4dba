// Package integration proves Penstock from outside: its tests build the
// binaries, start them, and talk to them over real sockets as any client does.
// It imports no package of Penstock; only the reference program below it, which
// is upstream's own streams mode to compare with, imports the engine.
//
// The harness in harness_test.go, server_test.go, http_test.go and
// proc_test.go is meant for every test of this package: startPenstock and
// startReference give a running server that is gone, with all its children,
// when the test ends.
package integration
