// Package stats turns what a stream's runner counts into what a client reads:
// a tree that follows the stream's config, or the flat keys of upstream's
// streams mode. It also reads the figures of the runner's process.
//
// The engine reports metrics as a flat list, each with the label and the path
// of its component (`root.input.broker.inputs.0`). The tree puts each at that
// path:
//
//	input:
//	  broker:
//	    inputs:
//	      - {label: a, path: root.input.broker.inputs.0, received: 12,
//	         connection: {up: 1, failed: 0, lost: 0}, latency_ns: {p50: …}}
//	pipeline: {processors: [{label: "", path: …, received: 12, error: 0}]}
//	output: {label: "", path: root.output, sent: 12}
//	resources: {cache: {foo: {label: foo, path: …, 'success{operation="get"}': 3}}}
//	other: {…}
//	process: {pid: 4711, rss_bytes: 31457280, …}
//	limits:
//	  memory: {bytes: 31457280, peak_bytes: 41943040, limit_bytes: 67108864, oom_kills: 0}
//	  cpu: {seconds: 1.5, throttled_seconds: 0.2, limit_cores: 0.5, …}
//	  …
//	uptime_ns: 61000000000
//
// A key is there only when it has something to hold. Names, labels and paths
// can be chosen by users, by the `metric` processor, so that any two may want
// one key: then the later one in a fixed order takes a longer name, and no
// value is lost. What has no path, or one that no config has, is under other.
//
// Everything but ReadProcess is a pure function. The package imports rpc, and
// supervisor/cgroup for its types; supervisor and api may import it.
package stats
