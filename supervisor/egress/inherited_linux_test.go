package egress

import (
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"golang.org/x/sys/unix"
)

// TestInheritedListener: a socket that listens can be ended and connected by who
// was given it. The rules go by the user who made it, so that one which is handed
// to a stream has to be made as the stream's user, by whomever.
func TestInheritedListener(t *testing.T) {
	host, _ := hosts(t)
	port := host.serveTCP(t, ":0", "host")
	host.apply(t, Open("penstock_test"), policy(t))
	for _, c := range []struct {
		maker int
		want  error
	}{
		{ourUID, unix.ECONNREFUSED},
		{0, nil},
	} {
		host.do(t, func() error {
			fd, err := listenAs(c.maker)
			if err != nil {
				return err
			}
			defer unix.Close(fd)
			if err := unix.Shutdown(fd, unix.SHUT_RD); err != nil {
				return err
			}
			err = unix.Connect(fd, &unix.SockaddrInet4{Port: int(number(t, port)), Addr: [4]byte{127, 0, 0, 1}})
			assert.Equal(t, c.want, err, "made as user %d", c.maker)
			return nil
		})
	}
}

// listenAs makes a socket on the calling thread with the file system user uid.
func listenAs(uid int) (int, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if _, _, errno := unix.RawSyscall(unix.SYS_SETFSUID, uintptr(uid), 0, 0); errno != 0 {
		return -1, errno
	}
	defer func() { _, _, _ = unix.RawSyscall(unix.SYS_SETFSUID, 0, 0, 0) }()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return -1, err
	}
	return fd, unix.Listen(fd, 1)
}
