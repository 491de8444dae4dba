package supervisor

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"

	"golang.org/x/sys/unix"

	"penstock/rpc/handover"
)

// sockets are the listening sockets of streams that have some of their own. They
// are the supervisor's, and runners have copies: a socket stays open while the
// one is replaced by the next, and who connects meanwhile waits.
type sockets struct {
	mu sync.Mutex
	// byAddress has one for each address, as netip.AddrPort writes it.
	byAddress map[string]*socket
}

// socket is one of them. It is a bare descriptor: as an os.File the supervisor
// would be woken by every connection.
type socket struct {
	stream string
	fd     int
}

func newSockets() *sockets { return &sockets{byAddress: map[string]*socket{}} }

// claim has a stream hold the socket of an address, by making it unless the
// stream holds it already. A socket that its runner has ended is made anew.
func (s *sockets) claim(stream, address string, listen func() (fd int, err error)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if held := s.byAddress[address]; held != nil {
		if held.stream != stream {
			return &socketTakenError{InvalidError{fmt.Sprintf("runtime.http.listen: stream %q listens on %s: choose another address, or change that stream first", held.stream, address)}, address}
		}
		if _, err := handover.Address(held.fd); err == nil {
			return nil
		}
		s.close(address)
	}
	fd, err := listen()
	if err == nil {
		s.byAddress[address] = &socket{stream, fd}
		return nil
	}
	if at := s.onPort(address); at != "" && errors.Is(err, errAddressInUse) {
		return &InvalidError{fmt.Sprintf("runtime.http.listen: stream %q listens on %s, and so nobody can on %s: choose another address, or change that stream first", s.byAddress[at].stream, at, address)}
	}
	return err
}

// regain takes over a socket that a runner has kept. It is closed where the
// address has one, or where it is not of that address.
func (s *sockets) regain(stream, address string, fd int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	at, err := handover.Address(fd)
	switch {
	case err == nil && at.String() != address:
		err = fmt.Errorf("the runner gave back a socket of %s in place of %s", at, address)
	case err == nil && s.byAddress[address] == nil:
		s.byAddress[address] = &socket{stream, fd}
		return nil
	}
	_ = unix.Close(fd)
	return err
}

// retain closes all sockets of a stream but that of address; empty is all.
func (s *sockets) retain(stream, address string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for at, held := range s.byAddress {
		if held.stream == stream && at != address {
			s.close(at)
		}
	}
}

// copy is a descriptor of its own of a stream's socket, for the caller to
// close. The error wraps ErrUnavailable where the stream does not hold one.
func (s *sockets) copy(stream, address string) (fd int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	held := s.byAddress[address]
	if held == nil || held.stream != stream {
		return -1, fmt.Errorf("%w: the socket of %s is closed", ErrUnavailable, address)
	}
	return unix.FcntlInt(uintptr(held.fd), unix.F_DUPFD_CLOEXEC, 0)
}

// open says that a stream holds the socket, and that it listens.
func (s *sockets) open(stream, address string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	held := s.byAddress[address]
	if held == nil || held.stream != stream {
		return false
	}
	_, err := handover.Address(held.fd)
	return err == nil
}

// holds says that one of the sockets is of the address's port.
func (s *sockets) holds(address string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.onPort(address) != ""
}

// onPort is a socket of the address's port; empty for none.
func (s *sockets) onPort(address string) string {
	wanted, err := netip.ParseAddrPort(address)
	if err != nil {
		return ""
	}
	for at := range s.byAddress {
		if netip.MustParseAddrPort(at).Port() == wanted.Port() {
			return at
		}
	}
	return ""
}

func (s *sockets) close(address string) {
	_ = unix.Close(s.byAddress[address].fd)
	delete(s.byAddress, address)
}
