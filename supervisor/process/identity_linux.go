package process

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/go-plugin"
	"golang.org/x/sys/unix"
)

// identify reads the identity of a child, which holds its id until we reap it.
func identify(pid int, dir, socket string) (Identity, error) {
	boot, err := bootID()
	if err != nil {
		return Identity{}, err
	}
	stat, err := readStat(pid)
	if err != nil {
		return Identity{}, fmt.Errorf("identifying the runner's process: %w", err)
	}
	uid, err := effectiveUID(pid)
	if err != nil {
		return Identity{}, fmt.Errorf("identifying the runner's process: %w", err)
	}
	return Identity{
		PID: pid, StartTime: stat.startTime, BootID: boot, UID: uid,
		Dir: filepath.Base(dir), Socket: filepath.Base(socket),
	}, nil
}

// verify opens the process that id means, whose folder is dir. Everything is
// checked after the pidfd was opened, which from then on means that process
// and no other.
func verify(id Identity, dir string) (*os.File, error) {
	boot, err := bootID()
	if err != nil {
		return nil, err
	}
	if boot != id.BootID {
		return nil, ErrRebooted
	}
	pidfd, err := openPidfd(id.PID)
	switch {
	case errors.Is(err, unix.ESRCH):
		return nil, gone("there is no process %d", id.PID)
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOENT):
		return nil, foreign("%d is not a process", id.PID)
	case err != nil:
		return nil, fmt.Errorf("opening process %d: %w: adoption needs Linux 5.3 or newer", id.PID, err)
	}
	if err := check(id, filepath.Join(dir, id.Socket)); err != nil {
		defer pidfd.Close()
		if errors.Is(err, errDeaf) {
			// It would consume beside the one that takes its place.
			if err := endDeaf(pidfd, id); err != nil {
				return nil, fmt.Errorf("ending process %d, on whose socket nobody listens: %w", id.PID, err)
			}
			return nil, ErrEnded
		}
		return nil, err
	}
	return pidfd, nil
}

// check compares what the kernel says of a process and of the one that listens
// on the socket. A stopped process passes: the kernel answers for it.
func check(id Identity, socket string) error {
	stat, err := readStat(id.PID)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) {
		return gone("process %d has just ended", id.PID)
	}
	if err != nil {
		return fmt.Errorf("reading about process %d: %w", id.PID, err)
	}
	if stat.startTime != id.StartTime {
		return foreign("process %d started at tick %d instead of %d: its id was given to another", id.PID, stat.startTime, id.StartTime)
	}
	if stat.dead() {
		return gone("process %d has ended", id.PID)
	}
	uid, err := effectiveUID(id.PID)
	if err != nil {
		return fmt.Errorf("reading about process %d: %w", id.PID, err)
	}
	if uid != id.UID {
		return foreign("process %d runs as user %d instead of %d", id.PID, uid, id.UID)
	}
	peer, err := listenerOf(socket)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ECONNREFUSED):
		if startedFor(id.PID, filepath.Dir(socket)) {
			return fmt.Errorf("%w %s", errDeaf, socket)
		}
		return foreign("nobody listens on its socket %s", socket)
	case err != nil:
		return fmt.Errorf("connecting to process %d: %w", id.PID, err)
	case int(peer.Pid) != id.PID || peer.Uid != id.UID:
		return foreign("process %d of user %d listens on its socket %s", peer.Pid, peer.Uid, socket)
	}
	return nil
}

// checkListener says whether the kernel holds the process for who it is to be,
// also as the one that listens on its socket.
func (p *Process) checkListener() error {
	if p.identityErr != nil {
		return nil // It will not be adopted in any case.
	}
	return check(p.identity, filepath.Join(p.Dir(), p.identity.Socket))
}

// startedFor says whether a process was started as the runner of a folder.
func startedFor(pid int, dir string) bool {
	environ, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "environ"))
	return err == nil && slices.Contains(strings.Split(string(environ), "\x00"), plugin.EnvUnixSocketDir+"="+dir)
}

// connectPatience bounds a connection that the kernel alone makes, which takes
// time only while the listener's queue is full.
const connectPatience = time.Second

// listenerOf is the process that listens on a unix socket. It lives, since its
// sockets are nobody else's: Go has no child inherit them.
func listenerOf(socket string) (*unix.Ucred, error) {
	ctx, cancel := context.WithTimeout(context.Background(), connectPatience)
	defer cancel()
	conn, err := dialSocket(ctx, socket)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return credentialsOf(conn)
}

// endDeaf kills the process that a pidfd means with its group, and waits until
// it is gone.
func endDeaf(pidfd *os.File, id Identity) error {
	raw, err := pidfd.SyscallConn()
	if err != nil {
		return err
	}
	if err := raw.Control(func(fd uintptr) { killGroupOf(int(fd), id.PID, id.StartTime) }); err != nil {
		return err
	}
	return awaitEnd(pidfd, time.Now().Add(connectPatience))
}
