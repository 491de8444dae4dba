package supervisor

import (
	"net"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"penstock/rpc/handover"
)

// listenFreely listens on a port that the kernel chooses, for a user.
func listenFreely(t *testing.T, uid uint32) (fd int, address string) {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	address = l.Addr().String()
	require.NoError(t, l.Close())
	fd, err = listenAs(uid, address)
	require.NoError(t, err)
	return fd, address
}

// TestListenAs: the socket is the stream's user's, is one of plain TCP, and
// nobody else's thread has changed its user for it.
func TestListenAs(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can act as another user")
	}
	for _, uid := range []uint32{0, 200001} {
		fd, address := listenFreely(t, uid)
		var stat unix.Stat_t
		require.NoError(t, unix.Fstat(fd, &stat))
		assert.Equal(t, uid, stat.Uid)
		protocol, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL)
		require.NoError(t, err)
		assert.Equal(t, unix.IPPROTO_TCP, protocol)
		_, err = listenAs(uid, address)
		assert.ErrorIs(t, err, errAddressInUse)
		assert.ErrorIs(t, err, ErrInvalid)
		require.NoError(t, unix.Close(fd))
	}
	_, err := listenAs(0, "192.0.2.123:8080")
	assert.ErrorIs(t, err, ErrInvalid, "an address that is not this host's")
}

// TestSocketsAreOneStreams: nobody else gets the socket of a stream, and one that
// its runner has ended is made anew.
func TestSocketsAreOneStreams(t *testing.T) {
	s := newSockets()
	fd, address := listenFreely(t, 0)
	made := 0
	claim := func(stream string) error {
		return s.claim(stream, address, func() (int, error) {
			made++
			if made == 1 {
				return fd, nil
			}
			return listenAs(0, address)
		})
	}
	require.NoError(t, claim("a"))
	require.NoError(t, claim("a"))
	assert.Equal(t, 1, made)
	require.ErrorContains(t, claim("b"), `stream "a" listens on `+address)
	_, err := s.copy("b", address)
	require.ErrorIs(t, err, ErrUnavailable)
	assert.False(t, s.open("b", address))
	s.retain("b", "")
	assert.True(t, s.open("a", address))
	assert.True(t, s.holds(address))

	own, err := s.copy("a", address)
	require.NoError(t, err)
	require.NoError(t, unix.Shutdown(own, unix.SHUT_RD))
	assert.False(t, s.open("a", address))
	require.NoError(t, unix.Close(own))
	require.NoError(t, claim("a"))
	assert.Equal(t, 2, made)
	assert.True(t, s.open("a", address))

	// Nobody can listen on the port, and whose fault that is is told.
	wildcard := "0.0.0.0" + address[len("127.0.0.1"):]
	err = s.claim("b", wildcard, func() (int, error) { return listenAs(0, wildcard) })
	require.ErrorContains(t, err, `stream "a" listens on `+address)

	s.retain("a", "127.0.0.1:1")
	assert.False(t, s.holds(address))
	require.NoError(t, claim("b"))
	s.retain("b", "")
}

// TestRegain: what an adopted runner gives back counts only where it is the
// socket of the config.
func TestRegain(t *testing.T) {
	s := newSockets()
	fd, address := listenFreely(t, 0)
	other, _ := listenFreely(t, 0)
	require.ErrorContains(t, s.regain("a", address, other), "in place of "+address)
	_, err := handover.Address(other)
	assert.Error(t, err, "it was closed")
	require.NoError(t, s.regain("a", address, fd))
	assert.True(t, s.open("a", address))
	again, err := s.copy("a", address)
	require.NoError(t, err)
	require.NoError(t, s.regain("a", address, again))
	_, err = handover.Address(again)
	assert.Error(t, err, "there is one already")
	s.retain("a", "")
	assert.ErrorIs(t, unix.Close(fd), unix.EBADF)
}

// TestListenOnWildcards: an address is of one family, as the policy has it.
func TestListenOnWildcards(t *testing.T) {
	fd, address := listenFreely(t, 0)
	require.NoError(t, unix.Close(fd))
	port := address[len("127.0.0.1"):]
	for _, wildcard := range []string{"0.0.0.0" + port, "[::]" + port} {
		fd, err := listenAs(0, wildcard)
		require.NoError(t, err)
		at, err := handover.Address(fd)
		require.NoError(t, err)
		assert.Equal(t, wildcard, at.String())
		defer func() { _ = unix.Close(fd) }()
	}
}
