// Command otherversion is a runner as far as the handshake goes, and speaks a
// protocol version that no supervisor knows.
package main

import (
	"context"
	"errors"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
)

const protocolVersion = 99

// nothing serves no service.
type nothing struct{ plugin.NetRPCUnsupportedPlugin }

// GRPCServer implements plugin.GRPCPlugin.
func (nothing) GRPCServer(*plugin.GRPCBroker, *grpc.Server) error { return nil }

// GRPCClient implements plugin.GRPCPlugin.
func (nothing) GRPCClient(context.Context, *plugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, errors.New("this is a server")
}

func main() {
	plugin.Serve(&plugin.ServeConfig{
		// The cookie is the real one: version and service are what differ.
		HandshakeConfig: plugin.HandshakeConfig{
			ProtocolVersion:  protocolVersion,
			MagicCookieKey:   "PENSTOCK_RUNNER",
			MagicCookieValue: "one stream, one process",
		},
		VersionedPlugins: map[int]plugin.PluginSet{protocolVersion: {"runner": nothing{}}},
		GRPCServer:       plugin.DefaultGRPCServer,
		Logger:           hclog.NewNullLogger(),
	})
}
