package process

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestDialSocketFollowsNothing: who listens where a link in the place of a
// socket leads is not connected to, not even for a moment.
func TestDialSocketFollowsNothing(t *testing.T) {
	dir := t.TempDir()
	real, link, file := filepath.Join(dir, "real"), filepath.Join(dir, "link"), filepath.Join(dir, "file")
	l, err := net.Listen("unix", real)
	require.NoError(t, err)
	defer l.Close()
	require.NoError(t, os.Symlink(real, link))
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	for _, socket := range []string{link, file, filepath.Join(dir, "nothing")} {
		_, err := dialSocket(t.Context(), socket)
		assert.ErrorIs(t, err, fs.ErrNotExist, socket)
	}
	require.NoError(t, l.(*net.UnixListener).SetDeadline(time.Now().Add(50*time.Millisecond)))
	_, err = l.Accept()
	assert.True(t, errors.Is(err, os.ErrDeadlineExceeded), "somebody has connected: %v", err)

	conn, err := dialSocket(t.Context(), real)
	require.NoError(t, err)
	defer conn.Close()
	peer, err := credentialsOf(conn)
	require.NoError(t, err)
	assert.EqualValues(t, os.Getpid(), peer.Pid)
}
