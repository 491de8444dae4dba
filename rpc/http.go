package rpc

// RemoteAddrHeader carries the caller's address with a request to a stream's
// HTTP endpoints, since the unix socket between supervisor and runner has
// none. The supervisor's side sets it and lets no client's through; the
// runner takes it off before the stream can see it.
const RemoteAddrHeader = "X-Penstock-Remote-Addr"
