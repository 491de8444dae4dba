package egress

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// patience bounds every wait of these tests.
const patience = time.Minute

// taskVariable tells the test binary to be a stream's process.
const taskVariable = "PENSTOCK_EGRESS_TASK"

// answer is what a stream's process saw.
type answer struct {
	Said  string // by who answered
	Errno syscall.Errno
	Error string
	Took  time.Duration
	// Of a hammer:
	Tries, Passed, Failed int
}

// beStream does what the lines of standard input say and answers each by a
// line, until the input ends.
func beStream() int {
	in := bufio.NewScanner(os.Stdin)
	out := json.NewEncoder(os.Stdout)
	for in.Scan() {
		verb, rest, _ := strings.Cut(in.Text(), " ")
		network, address, _ := strings.Cut(rest, " ")
		begun := time.Now()
		var a answer
		var err error
		switch verb {
		case "ask":
			a.Said, err = ask(network, address)
		case "answer":
			err = answerOnce(address, out)
		case "serve":
			err = serveOnce(address, out)
		case "send":
			err = send(network, address)
		case "twice":
			a.Said, err = askTwice(network, address, in, out)
		case "hold":
			a.Said, err = hold(network, address, in, out)
		case "check":
			err = Check()
		case "hammer":
			a = hammer(network, address, in)
		}
		a.Took = time.Since(begun)
		if err != nil {
			a.Error = err.Error()
			errors.As(err, &a.Errno)
		}
		if out.Encode(a) != nil {
			return 1
		}
	}
	return 0
}

// ask connects, by UDP says something, and returns what comes back.
func ask(network, address string) (string, error) {
	if network == "mapped" {
		return askMapped(address)
	}
	d := net.Dialer{Timeout: patience}
	if network == "mptcp" {
		d.SetMultipathTCP(true)
		network = "tcp"
	}
	conn, err := d.Dial(network, address)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	return hear(conn, network)
}

func hear(conn net.Conn, network string) (string, error) {
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return "", err
	}
	if network != "udp" {
		said, err := io.ReadAll(conn)
		return string(said), err
	}
	if _, err := conn.Write([]byte("?")); err != nil {
		return "", err
	}
	buf := make([]byte, 100)
	n, err := conn.Read(buf)
	return string(buf[:n]), err
}

// askMapped reaches an IPv4 address through an IPv6 socket.
func askMapped(address string) (string, error) {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return "", err
	}
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	f := os.NewFile(uintptr(fd), address)
	defer f.Close()
	if err := unix.Connect(fd, &unix.SockaddrInet6{Port: int(to.Port()), Addr: to.Addr().As16()}); err != nil {
		return "", err
	}
	said, err := io.ReadAll(f)
	return string(said), err
}

// answerOnce waits on a UDP socket for what comes uninvited and answers it. It
// tells its port first.
func answerOnce(address string, out *json.Encoder) error {
	conn, err := net.ListenPacket("udp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := errors.Join(conn.SetDeadline(time.Now().Add(patience)), out.Encode(answer{Said: conn.LocalAddr().String()})); err != nil {
		return err
	}
	buf := make([]byte, 100)
	_, from, err := conn.ReadFrom(buf)
	if err != nil {
		return err
	}
	_, err = conn.WriteTo([]byte("stream"), from)
	return err
}

// serveOnce tells its port, accepts one connection and says who it is.
func serveOnce(address string, out *json.Encoder) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	defer l.Close()
	deadline := l.(*net.TCPListener).SetDeadline(time.Now().Add(patience))
	if err := errors.Join(deadline, out.Encode(answer{Said: l.Addr().String()})); err != nil {
		return err
	}
	conn, err := l.Accept()
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = io.WriteString(conn, "stream")
	return err
}

// send says which user it is and waits for nothing.
func send(network, address string) error {
	conn, err := net.Dial(network, address)
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = fmt.Fprint(conn, os.Getuid())
	return err
}

// askTwice tells the first answer, and asks again on the same socket after the
// next line.
func askTwice(network, address string, in *bufio.Scanner, out *json.Encoder) (string, error) {
	conn, err := net.Dial(network, address)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	said, err := hear(conn, network)
	if err != nil {
		return "", err
	}
	if err := out.Encode(answer{Said: said}); err != nil {
		return "", err
	}
	in.Scan()
	return hear(conn, network)
}

// hammer asks again and again until a line comes.
func hammer(network, address string, in *bufio.Scanner) (a answer) {
	ctx, stop := context.WithCancel(context.Background())
	go func() {
		in.Scan()
		stop()
	}()
	for ctx.Err() == nil {
		a.Tries++
		said, err := ask(network, address)
		switch {
		case err == nil && said != "":
			a.Passed++
		default:
			a.Failed++
			a.Error = fmt.Sprint(err)
		}
	}
	return a
}

// hold tells the echo of a byte, and of another one on the same connection after
// the next line.
func hold(network, address string, in *bufio.Scanner, out *json.Encoder) (string, error) {
	conn, err := net.Dial(network, address)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return "", err
	}
	echo := func(text string) (string, error) {
		if _, err := conn.Write([]byte(text)); err != nil {
			return "", err
		}
		buf := make([]byte, 1)
		n, err := conn.Read(buf)
		return string(buf[:n]), err
	}
	said, err := echo("1")
	if err != nil {
		return "", err
	}
	if err := out.Encode(answer{Said: said}); err != nil {
		return "", err
	}
	in.Scan()
	return echo("2")
}
