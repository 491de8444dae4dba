package runner

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"

	"penstock/rpc"
)

// Main runs the process until its supervisor ends it. A binary imports the
// components it wants to carry and calls Main; it returns the exit code.
func Main() int {
	// A supervisor that dies must not take the runner along by a pipe.
	signal.Ignore(syscall.SIGPIPE, syscall.SIGHUP)

	s, err := newServer()
	if err != nil {
		fmt.Fprintln(os.Stderr, "penstock-runner:", err)
		return 1
	}
	go s.onSignal()

	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig:  rpc.Handshake(),
		VersionedPlugins: rpc.ServerPlugins(s),
		GRPCServer:       rpc.NewGRPCServer,
		Logger:           hclog.NewNullLogger(),
	})
	s.close()
	return 0
}

// onSignal stops the stream at SIGTERM, for a runner that is ended from
// outside of its supervisor.
func (s *server) onSignal() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM)
	<-signals
	s.shutdown("SIGTERM")
}
