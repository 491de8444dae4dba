package process

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"path/filepath"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"penstock/rpc"
	"penstock/supervisor/cgroup"
)

// Adopt takes over a runner that an earlier supervisor started. It asks the
// kernel alone, not the runner, and takes less than a millisecond: a runner
// that is stopped or busy is adopted as well. It fails with ErrGone or
// ErrForeign, and otherwise when the kernel did not say who the process is.
// Nothing is signalled in any case.
//
// hierarchy is where the runner may have a leaf, nil where there is none.
func (l *Launcher) Adopt(id Identity, hierarchy *cgroup.Hierarchy) (*Process, error) {
	if !isName(id.Dir) || !isName(id.Socket) {
		return nil, foreign("%q in %q is no name of a socket", id.Socket, id.Dir)
	}
	dir := filepath.Join(l.runDir, id.Dir)
	leaf, err := findLeaf(hierarchy, id.Dir)
	if err != nil {
		return nil, fmt.Errorf("adopting process %d: %w", id.PID, err)
	}
	handle, end, err := attach(id, dir, leaf)
	if err != nil {
		return nil, fmt.Errorf("adopting process %d: %w", id.PID, err)
	}
	p := &Process{handle: handle, ending: end, protocol: rpc.ProtocolVersion, identity: id}
	config := l.pluginConfig(p, handle.pid)
	config.Plugins = rpc.ClientPlugins()[rpc.ProtocolVersion]
	config.Reattach = &plugin.ReattachConfig{
		Protocol:        plugin.ProtocolGRPC,
		ProtocolVersion: rpc.ProtocolVersion,
		Addr:            &net.UnixAddr{Name: filepath.Join(dir, id.Socket), Net: "unix"},
		ReattachFunc:    func() (runner.AttachedRunner, error) { return handle, nil },
	}
	p.plugin = plugin.NewClient(config)
	if err := p.connect(); err != nil {
		handle.release()
		return nil, fmt.Errorf("adopting process %d: %w", id.PID, err)
	}
	return p, nil
}

// findLeaf returns the leaf of the runner with that folder; nil when it has
// none.
func findLeaf(hierarchy *cgroup.Hierarchy, dir string) (*cgroup.Leaf, error) {
	if hierarchy == nil {
		return nil, nil
	}
	leaf, err := hierarchy.Find(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return leaf, err
}

// isName tells whether a recorded name stays within its folder.
func isName(name string) bool {
	return name != "" && name != "." && name != ".." && filepath.Base(name) == name
}

// pluginConfig is what go-plugin needs to know of the runner of p. Only the
// process with that id is spoken to, and no link in the place of its socket is
// followed.
func (l *Launcher) pluginConfig(p *Process, pid func() int) *plugin.ClientConfig {
	return &plugin.ClientConfig{
		HandshakeConfig:  rpc.Handshake(),
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		GRPCDialOptions: append(rpc.DialOptions(l.observe), grpc.WithContextDialer(p.dialPlugin),
			grpc.WithTransportCredentials(peerCredentials{insecure.NewCredentials(), pid})),
		SkipHostEnv:  true,
		StartTimeout: l.startTimeout,
		Logger:       hclog.NewNullLogger(),
	}
}

// dialPlugin connects to the socket that the runner has told of.
func (p *Process) dialPlugin(ctx context.Context, _ string) (net.Conn, error) {
	at := p.plugin.ReattachConfig()
	if at == nil {
		return nil, errors.New("the runner has not told of its socket")
	}
	return dialSocket(ctx, at.Addr.String())
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
