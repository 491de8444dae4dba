// Package offline has a runner's binary do what needs no stream: lint files, run
// the unit tests of configs, check templates. It exists because linting is
// execution: the engine computes the constants of mappings and follows their
// imports while it reads them. So what is linted is linted in a process that may
// die, with bounds of memory and time, and never in the supervisor's own.
//
// It may import rpc.
package offline
