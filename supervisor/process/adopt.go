package process

import (
	"fmt"
	"net"
	"path/filepath"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"

	"penstock/rpc"
)

// Adopt takes over a runner that an earlier supervisor started. It asks the
// kernel alone, not the runner, and takes less than a millisecond: a runner
// that is stopped or busy is adopted as well. It fails with ErrGone or
// ErrForeign, and otherwise when the kernel did not say who the process is.
// Nothing is signalled in any case.
func (l *Launcher) Adopt(id Identity) (*Process, error) {
	if !isName(id.Dir) || !isName(id.Socket) {
		return nil, foreign("%q in %q is no name of a socket", id.Socket, id.Dir)
	}
	dir := filepath.Join(l.runDir, id.Dir)
	handle, end, err := attach(id, dir)
	if err != nil {
		return nil, fmt.Errorf("adopting process %d: %w", id.PID, err)
	}
	config := l.pluginConfig()
	config.Plugins = rpc.ClientPlugins()[rpc.ProtocolVersion]
	config.Reattach = &plugin.ReattachConfig{
		Protocol:        plugin.ProtocolGRPC,
		ProtocolVersion: rpc.ProtocolVersion,
		Addr:            &net.UnixAddr{Name: filepath.Join(dir, id.Socket), Net: "unix"},
		ReattachFunc:    func() (runner.AttachedRunner, error) { return handle, nil },
	}
	p := &Process{
		plugin:   plugin.NewClient(config),
		handle:   handle,
		ending:   end,
		protocol: rpc.ProtocolVersion,
		identity: id,
	}
	if err := p.connect(); err != nil {
		handle.release()
		return nil, fmt.Errorf("adopting process %d: %w", id.PID, err)
	}
	return p, nil
}

// isName tells whether a recorded name stays within its folder.
func isName(name string) bool {
	return name != "" && name != "." && name != ".." && filepath.Base(name) == name
}

// pluginConfig is what go-plugin needs to know of every runner.
func (l *Launcher) pluginConfig() *plugin.ClientConfig {
	return &plugin.ClientConfig{
		HandshakeConfig:  rpc.Handshake(),
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		GRPCDialOptions:  rpc.DialOptions(l.observe),
		SkipHostEnv:      true,
		StartTimeout:     l.startTimeout,
		Logger:           hclog.NewNullLogger(),
	}
}

// connect makes the client of a process that go-plugin has started or taken
// over. The first call is what waits for an answer.
func (p *Process) connect() error {
	protocol, err := p.plugin.Client()
	if err != nil {
		return err
	}
	client, ok := protocol.(*plugin.GRPCClient)
	if !ok {
		return fmt.Errorf("it speaks %T instead of gRPC", protocol)
	}
	p.conn, p.Client = client.Conn, rpc.NewClient(client.Conn)
	return nil
}
