package runner

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"penstock/rpc"
)

// Main runs the process until its supervisor ends it. A binary imports the
// components it wants to carry and calls Main with its version; an empty one
// means what the Go tool recorded at the build. Main returns the exit code.
//
// With the argument --version it prints the version in one line instead, which
// is how a supervisor asks the binary on the disk, and with --describe which
// components it carries, as an rpc.Description in JSON. With rpc.LintFlag and
// rpc.EngineFlag it lints and tests files, which needs no supervisor either.
func Main(version string) int {
	if version == "" {
		version = recordedVersion()
	}
	if len(os.Args) == 2 && os.Args[1] == "--version" {
		fmt.Println(version)
		return 0
	}
	if len(os.Args) == 2 && os.Args[1] == rpc.DescribeFlag {
		return describe(os.Stdout, version)
	}
	if code, is := offline(os.Args[1:]); is {
		return code
	}
	// A supervisor that dies must not take the runner along by a pipe.
	signal.Ignore(syscall.SIGPIPE, syscall.SIGHUP)

	err := giveUpRoot()
	var s *server
	if err == nil {
		s, err = newServer(version)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "penstock-runner:", err)
		return 1
	}
	go s.onSignal()

	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig:  rpc.Handshake(),
		VersionedPlugins: rpc.ServerPlugins(s),
		GRPCServer: func(opts []grpc.ServerOption) *grpc.Server {
			return rpc.NewGRPCServer(append(opts, grpc.Creds(newPeerCredentials())))
		},
		Logger: hclog.NewNullLogger(),
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
	s.shutdown(rpc.ExitTerminated)
}
