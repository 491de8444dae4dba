package runner

import (
	"net/http"

	"penstock/rpc"
)

// restoreRemoteAddr makes requests look as if the caller had reached the
// stream directly: the engine turns address and headers into metadata.
func restoreRemoteAddr(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if addr := r.Header.Get(rpc.RemoteAddrHeader); addr != "" {
			r.RemoteAddr = addr
			r.Header.Del(rpc.RemoteAddrHeader)
		}
		next.ServeHTTP(w, r)
	})
}
