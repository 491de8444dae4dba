package sandbox

import (
	"errors"
	"net"
	"path/filepath"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// networkAttempts are about sockets.
var networkAttempts = []attempt{
	{"connect to the host's abstract socket", func(w world) error { return dial("unix", w.HostAbstract) }, "ok", "ok", "EPERM"},
	{"connect to the host's socket", func(w world) error { return dial("unix", w.HostSocket) }, "ok", "ok", "ENOENT"},
	{"connect to a sibling's abstract socket", func(w world) error { return dial("unix", w.OtherAbstract) }, "ok", "ok", "EPERM"},
	{"connect to a sibling's socket", func(w world) error { return dial("unix", w.OtherSocket) }, "ok", "-", "ENOENT"},
	{"send to the host's abstract socket", func(w world) error { return dial("unixpacket", w.HostAbstract+"-packet") }, "ok", "ok", "EPERM"},
	{"listen in its own folder", func(w world) error {
		path := filepath.Join(w.Own, "s")
		l, err := net.Listen("unix", path)
		if err != nil {
			return err
		}
		return errors.Join(dial("unix", path), l.Close())
	}, "ok", "-", "ok"},
	{"connect to an allowed port", func(w world) error { return connect(w.Open) }, "ok", "ok", "ok"},
	{"connect to another port", func(w world) error { return connect(w.Closed) }, "ok", "ok", "EACCES"},
	{"connect to another port by fast open", func(w world) error { return fastOpen(w.Closed) }, "ok", "ok", "ENOTSUP"},
	{"connect to another port by sendmsg", func(w world) error {
		return onSocket(func(fd int) error { return unix.Sendmsg(fd, []byte("x"), nil, loopback(w.Closed), unix.MSG_FASTOPEN) })
	}, "ok", "ok", "ENOTSUP"},
	{"connect to another port by sendmmsg", func(w world) error { return onSocket(func(fd int) error { return sendMany(fd, w.Closed) }) }, "ok", "ok", "ENOTSUP"},
	{"connect to another port by fast open on connect", func(w world) error {
		return onSocket(func(fd int) error {
			if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_FASTOPEN_CONNECT, 1); err != nil {
				return err
			}
			return unix.Connect(fd, loopback(w.Closed))
		})
	}, "ok", "ok", "EACCES"},
	{"bind an allowed port", func(w world) error { return bind(w.Free) }, "ok", "ok", "ok"},
	{"bind another port", func(w world) error { return bind(w.Taken) }, "ok", "ok", "EACCES"},
	{"bind port 80", func(world) error { return bind(80) }, "-", "-", "EACCES"},
	{"UDP socket", func(world) error { return socket(unix.AF_INET, unix.SOCK_DGRAM, 0) }, "ok", "ok", "ok"},
	{"TCP socket for IPv6", func(world) error { return socket(unix.AF_INET6, unix.SOCK_STREAM, unix.IPPROTO_TCP) }, "ok", "ok", "ok"},
	{"MPTCP socket", func(world) error { return socket(unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_MPTCP) }, "-", "EPROTONOSUPPORT", "EPROTONOSUPPORT"},
	{"MPTCP socket for IPv6", func(world) error { return socket(unix.AF_INET6, unix.SOCK_STREAM, unix.IPPROTO_MPTCP) }, "-", "EPROTONOSUPPORT", "EPROTONOSUPPORT"},
	{"SCTP socket", func(world) error { return socket(unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_SCTP) }, "-", "EPROTONOSUPPORT", "EPROTONOSUPPORT"},
	{"ping socket", func(world) error { return socket(unix.AF_INET, unix.SOCK_DGRAM, unix.IPPROTO_ICMP) }, "-", "EPROTONOSUPPORT", "EPROTONOSUPPORT"},
	{"raw socket", func(world) error { return socket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP) }, "ok", "EPERM", "EPERM"},
	{"packet socket", func(world) error { return socket(unix.AF_PACKET, unix.SOCK_RAW, 0x300) }, "-", "EAFNOSUPPORT", "EAFNOSUPPORT"},
	{"netlink route socket", func(world) error { return socket(unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_ROUTE) }, "ok", "ok", "EAFNOSUPPORT"},
	{"list network interfaces", func(world) error {
		_, err := net.Interfaces()
		if err != nil && strings.Contains(err.Error(), "address family not supported") {
			return unix.EAFNOSUPPORT
		}
		return err
	}, "ok", "ok", "EAFNOSUPPORT"},
	{"netlink netfilter socket", func(world) error { return socket(unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_NETFILTER) }, "ok", "EPROTONOSUPPORT", "EAFNOSUPPORT"},
	{"vsock socket", func(world) error { return socket(unix.AF_VSOCK, unix.SOCK_STREAM, 0) }, "-", "EAFNOSUPPORT", "EAFNOSUPPORT"},
	{"crypto socket", func(world) error { return socket(unix.AF_ALG, unix.SOCK_SEQPACKET, 0) }, "-", "EAFNOSUPPORT", "EAFNOSUPPORT"},
	{"netlink socket pair", func(world) error {
		_, err := unix.Socketpair(unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_ROUTE)
		return err
	}, "ENOTSUP", "EAFNOSUPPORT", "EAFNOSUPPORT"},
	{"socket pair", func(world) error {
		fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		return errors.Join(err, unix.Close(fds[0]), unix.Close(fds[1]))
	}, "ok", "ok", "ok"},
}

// sendMany sends by sendmmsg, which connects.
func sendMany(fd int, port uint16) error {
	text := []byte("x")
	to := unix.RawSockaddrInet4{Family: unix.AF_INET, Port: port<<8 | port>>8, Addr: [4]byte{127, 0, 0, 1}}
	part := unix.Iovec{Base: &text[0], Len: 1}
	message := struct {
		unix.Msghdr
		sent uint32
	}{Msghdr: unix.Msghdr{Name: (*byte)(unsafe.Pointer(&to)), Namelen: uint32(unsafe.Sizeof(to)), Iov: &part, Iovlen: 1}}
	return call(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(&message)), 1, unix.MSG_FASTOPEN)
}

// machineAttempts are about the host as a whole, and its terminals.
var machineAttempts = []attempt{
	{"change the host name", func(world) error { return unix.Sethostname([]byte("escaped")) }, "-", "EPERM", "EPERM"},
	{"mount", func(w world) error { return unix.Mount("tmpfs", w.Own, "tmpfs", 0, "") }, "-", "EPERM", "EPERM"},
	{"type into a terminal", func(world) error { return call(unix.SYS_IOCTL, 0, unix.TIOCSTI, pointer("x")) }, "ENOTTY", "EPERM", "EPERM"},
	{"type into a terminal with more bits set", func(world) error {
		return call(unix.SYS_IOCTL, 0, 1<<32|unix.TIOCSTI, pointer("x"))
	}, "ENOTTY", "EPERM", "EPERM"},
	{"paste into a terminal", func(world) error { return call(unix.SYS_IOCTL, 0, unix.TIOCLINUX, pointer("x")) }, "ENOTTY", "EPERM", "EPERM"},
	{"another ioctl", func(world) error { return call(unix.SYS_IOCTL, 0, unix.TCGETS, pointer("x")) }, "ENOTTY", "ENOTTY", "ENOTTY"},
}
