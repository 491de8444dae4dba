package rpc

import (
	"context"

	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"penstock/rpc/runnerpb"
)

const (
	// ProtocolVersion is raised when a runner of the old version could no
	// longer be driven. Adding fields to messages does not raise it.
	ProtocolVersion = 2
	// PluginName is the name under which the runner service is dispensed.
	PluginName = "runner"
	// StartGOGC is the garbage collector's target with which a runner starts,
	// unless the operator has chosen one. Registering the engine's components
	// allocates 8 MB, through which the default collects again and again: it
	// costs a fifth of the start. The runner sets it back once it runs.
	StartGOGC = "400"
	// AheadGOGC is that of a runner that is started ahead, which may take its
	// time: collected again and again, what registration leaves is packed
	// closer, and stays so. It spares a megabyte for as long as the runner lives.
	AheadGOGC = "50"
	// MaxMessageBytes bounds one message in either direction. A config with
	// all resources has to fit.
	MaxMessageBytes = 64 << 20
)

// Handshake makes sure that supervisor and runner are meant for each other.
func Handshake() plugin.HandshakeConfig {
	return plugin.HandshakeConfig{
		ProtocolVersion:  ProtocolVersion,
		MagicCookieKey:   "PENSTOCK_RUNNER",
		MagicCookieValue: "one stream, one process",
	}
}

// ClientPlugins is what the supervisor can drive, by protocol version.
func ClientPlugins() map[int]plugin.PluginSet {
	return map[int]plugin.PluginSet{ProtocolVersion: {PluginName: &grpcPlugin{}}}
}

// ServerPlugins is what a runner with this implementation serves.
func ServerPlugins(impl Runner) map[int]plugin.PluginSet {
	return map[int]plugin.PluginSet{ProtocolVersion: {PluginName: &grpcPlugin{impl: impl}}}
}

// grpcPlugin satisfies plugin.GRPCPlugin; impl is nil on the client's side.
type grpcPlugin struct {
	plugin.NetRPCUnsupportedPlugin
	impl Runner
}

func (p *grpcPlugin) GRPCServer(_ *plugin.GRPCBroker, s *grpc.Server) error {
	runnerpb.RegisterRunnerServiceServer(s, &server{impl: p.impl})
	return nil
}

func (p *grpcPlugin) GRPCClient(_ context.Context, _ *plugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	return NewClient(conn), nil
}
