package runner

import "net/http"

// remoteAddrHeader carries the address of the caller over the unix socket,
// which has none. The gateway sets it and lets no client's through.
const remoteAddrHeader = "X-Penstock-Remote-Addr"

// restoreRemoteAddr makes requests look as if the caller had reached the
// stream directly: the engine turns address and headers into metadata.
func restoreRemoteAddr(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if addr := r.Header.Get(remoteAddrHeader); addr != "" {
			r.RemoteAddr = addr
			r.Header.Del(remoteAddrHeader)
		}
		next.ServeHTTP(w, r)
	})
}
