package runner

import (
	"context"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"penstock/rpc"
)

// TestStrangersAreRefused opens a runner's folder to everybody, as nobody
// should, and has another user call at both sockets.
func TestStrangersAreRefused(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can act as another user")
	}
	ctx := context.Background()
	p := start(t)
	prepared := p.prepare(t, idle)
	require.NoError(t, p.Run(ctx))
	control := p.plugin.ReattachConfig().Addr.String()
	for _, path := range []string{filepath.Dir(p.dir), p.dir, control, prepared.HTTPSocket} {
		require.NoError(t, os.Chmod(path, 0o777))
	}

	for name, dial := range map[string]func(string) (net.Conn, error){
		"supervisor": func(path string) (net.Conn, error) { return net.Dial("unix", path) },
		"stranger":   dialAsNobody,
	} {
		t.Run(name, func(t *testing.T) {
			web := &http.Client{Transport: &http.Transport{
				DisableKeepAlives: true,
				DialContext:       func(context.Context, string, string) (net.Conn, error) { return dial(prepared.HTTPSocket) },
			}}
			resp, webErr := web.Get("http://runner/ready")
			if webErr == nil {
				assert.NoError(t, resp.Body.Close())
			}
			conn, err := grpc.NewClient("passthrough:///runner",
				append(rpc.DialOptions(nil), grpc.WithTransportCredentials(insecure.NewCredentials()),
					grpc.WithContextDialer(func(context.Context, string) (net.Conn, error) { return dial(control) }))...)
			require.NoError(t, err)
			defer conn.Close()
			_, rpcErr := rpc.NewClient(conn).Identify(ctx)
			if name == "supervisor" {
				assert.NoError(t, webErr)
				assert.NoError(t, rpcErr)
			} else {
				assert.Error(t, webErr)
				assert.ErrorIs(t, rpcErr, rpc.ErrUnavailable)
			}
		})
	}
	assert.Equal(t, rpc.PhaseRunning, p.phase(t))
}

// TestRunnerIsNotItsOwnSupervisor has a process connect to its own socket, as a
// stream can.
func TestRunnerIsNotItsOwnSupervisor(t *testing.T) {
	listener, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	require.NoError(t, err)
	defer listener.Close()
	own, err := net.Dial("unix", listener.Addr().String())
	require.NoError(t, err)
	defer own.Close()
	accepted, err := listener.Accept()
	require.NoError(t, err)
	defer accepted.Close()
	assert.False(t, fromSupervisor(accepted))
	_, _, err = newPeerCredentials().ServerHandshake(accepted)
	assert.ErrorIs(t, err, errStranger)
}

// dialAsNobody connects as another user: the kernel takes down the user of the
// one thread that connects.
func dialAsNobody(path string) (net.Conn, error) {
	const nobody = 65534
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, ^uintptr(0), nobody, ^uintptr(0)); errno != 0 {
		return nil, errno
	}
	conn, err := net.Dial("unix", path)
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, ^uintptr(0), 0, ^uintptr(0)); errno != 0 {
		panic("cannot be root again: " + errno.Error())
	}
	return conn, err
}
