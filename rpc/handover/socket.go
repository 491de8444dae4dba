package handover

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"
)

// maxText bounds what is said along with a descriptor, in bytes.
const maxText = 512

// maxDescriptors is how many there is room for; more than one is a fault.
const maxDescriptors = 4

// filler is what is sent along with a descriptor, which would be lost alone.
const filler = "."

// send sends a descriptor and a name, which is shorter than maxText.
func send(conn *net.UnixConn, fd int, name string) error {
	_, _, err := conn.WriteMsgUnix([]byte(filler+name), unix.UnixRights(fd), nil)
	return err
}

// receive reads what send has sent, with the filler, or a text that came in its
// place. The descriptor is not inherited by other programs.
func receive(conn *net.UnixConn, check func(fd int) error) (fd int, text string, err error) {
	data, control := make([]byte, maxText), make([]byte, unix.CmsgSpace(4*maxDescriptors))
	n, oobn, flags, _, err := conn.ReadMsgUnix(data, control)
	if err != nil {
		return -1, "", err
	}
	fds, err := descriptors(control[:oobn])
	switch {
	case err == nil && flags&unix.MSG_CTRUNC != 0:
		err = errors.New("more descriptors came than there may be")
	case err == nil && len(fds) == 0:
		return -1, string(data[:n]), nil
	case err == nil && len(fds) > 1:
		err = fmt.Errorf("%d descriptors came in place of one", len(fds))
	case err == nil:
		err = check(fds[0])
	}
	if err != nil {
		for _, each := range fds {
			_ = unix.Close(each)
		}
		return -1, "", err
	}
	return fds[0], string(data[:n]), nil
}

// descriptors are all that came; those that came before an error are returned
// with it.
func descriptors(control []byte) (all []int, err error) {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return nil, err
	}
	for _, m := range messages {
		fds, err := unix.ParseUnixRights(&m)
		if err != nil {
			return all, err
		}
		all = append(all, fds...)
	}
	return all, nil
}

func listens(fd int) error {
	_, err := Address(fd)
	return err
}

// connects refuses what is not one end of a connection between two processes of
// this host.
func connects(fd int) error {
	kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil {
		return fmt.Errorf("it is no socket: %w", err)
	}
	peer, err := unix.Getpeername(fd)
	if _, local := peer.(*unix.SockaddrUnix); err != nil || !local || kind != unix.SOCK_STREAM {
		return errors.New("it is no connected unix socket")
	}
	return nil
}

// Address is where a TCP socket listens. It fails for everything else, for a
// socket that somebody has ended as well.
func Address(fd int) (netip.AddrPort, error) {
	kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("it is no socket: %w", err)
	}
	listens, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	if err != nil || kind != unix.SOCK_STREAM || listens == 0 {
		return netip.AddrPort{}, errors.New("it is no socket that listens")
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		return netip.AddrPort{}, err
	}
	switch a := name.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port)), nil
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr), uint16(a.Port)), nil
	}
	return netip.AddrPort{}, errors.New("it is no socket of TCP")
}
