// Package integration proves Penstock from outside: its tests build the
// binaries, start them, and talk to them over real sockets as any client does.
// It imports no package of Penstock; only two programs below it import the
// engine: reference, which is upstream's own streams mode to compare with, and
// chaos/runner, in a module of its own, which is a runner with more components.
//
// The harness in harness_test.go, server_test.go, http_test.go and
// proc_test.go is meant for every test of this package: startPenstock and
// startReference give a running server that is gone, with all its children,
// when the test ends.
package integration
