// Package rpc is the contract between the supervisor and a runner: the
// protobuf service, its go-plugin glue, and plain Go types for both ends, so
// that neither side handles generated code. Runner is the one interface that
// both ends implement: the runner serves it, the client speaks it.
//
// The generated code lives in rpc/runnerpb and comes from
// rpc/proto/penstock/runner/v1/runner.proto by `make proto`.
//
// It imports nothing of ours. supervisor, supervisor/offline,
// supervisor/process, supervisor/stats, runner and runner/engine may import it.
package rpc
