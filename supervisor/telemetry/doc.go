// Package telemetry serves what Prometheus reads: every engine metric of every
// stream, and the gateway's own.
//
// It exists because runners serve no metrics themselves: one scrape asks them
// all, at the same time and under one deadline. Nothing is kept of a stream
// from one scrape to the next, so that its series end with it. What the
// supervisor counts itself is kept in a registry of client_golang.
//
//	targets ──▶ ask (64 at a time, one deadline) ──▶ answers ┐
//	                                                         ├─▶ families ──▶ text
//	registry (own counters, Go, process) ──▶ Gather ─────────┘
//
// A runner that does not answer costs its own engine metrics only:
// penstock_scrape_error{stream} is then 1. What the system and its cgroup say
// of it is told all the same.
//
// # Names
//
// Engine metrics have upstream's names, help texts, labels and units
// (nanoseconds), and are counters, gauges and summaries with the quantiles 0.5,
// 0.9 and 0.99. Each has the label stream as well. The metric processor lets a
// stream choose any name and any label, so that some have to be changed. None
// of these can make a scrape fail:
//
//   - Characters that names may not have become underscores.
//   - A metric whose name begins with penstock_ gets the prefix exported_, as do
//     labels called stream, those that begin with two underscores, and quantile
//     on a summary.
//   - Where streams give one name different types, the type that most streams
//     give it keeps the name. The others get their type behind it: _counter,
//     _gauge or _timer. So does a name that is the gateway's own (go_…,
//     process_…) or one of the series of a summary (…_sum, …_count).
//   - Of two series of one stream that are then the same, one is given. A stream
//     gives at most 10,000 series. penstock_scrape_dropped_series{stream} counts
//     what is left out.
//
// The package imports rpc, and supervisor/cgroup for its types; supervisor may
// import it.
package telemetry
