package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// killPatience is how long Kill waits. A process with much memory takes a
	// while to give it back; one that waits for a dead disk never ends.
	killPatience = 10 * time.Second
	// removePatience is how long Remove waits: a dead process leaves its cgroup
	// a little later than it leaves the list.
	removePatience = 2 * time.Second
	// pidfds is how many processes are taken hold of at once.
	pidfds = 256
)

// errOccupied means that processes are left in a leaf.
var errOccupied = errors.New("processes are left in it")

// Kill ends every process in the leaf, those that are forked meanwhile too,
// and returns when it is empty, or with an error after 10 seconds. A leaf that
// is gone is empty. Nothing may be started in the leaf afterwards, and its
// limits on CPU time and processes are not what they were any more.
func (l *Leaf) Kill() error {
	hastened := false
	err := await(killPatience, func() error {
		left, err := l.processes()
		if err != nil || len(left) == 0 {
			return err
		}
		if !hastened {
			if err := l.hasten(); err != nil {
				return err
			}
			hastened = true
		}
		for _, t := range l.h.trees {
			if err := signal(l.dir(t)); err != nil {
				return err
			}
		}
		return fmt.Errorf("%w: %v", errOccupied, left)
	})
	if err != nil {
		return fmt.Errorf("ending what is in cgroup %s: %w", l.path(), err)
	}
	return nil
}

// processes are those in any of the leaf's folders.
func (l *Leaf) processes() ([]int, error) {
	var all []int
	for _, t := range l.h.trees {
		pids, err := processes(l.dir(t))
		if optional(err) != nil {
			return nil, err
		}
		all = append(all, pids...)
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}

// hasten refuses the leaf any fork, so that a fork bomb stays as it is listed,
// has the kernel kill all processes at once, if it can (Linux 5.14), and gives
// them the CPU time that dying takes, too: with little of it, and beside others
// who have much, that would take longer than anybody waits.
func (l *Leaf) hasten() error {
	values := map[string]string{
		l.has("pids", "pids.max"):        "0",
		l.has("cpu", "cpu.max"):          "max",
		l.has("cpu", "cpu.weight"):       strconv.Itoa(maxCPUWeight),
		l.has("cpu", "cpu.cfs_quota_us"): "-1",
		l.has("cpu", "cpu.shares"):       shares(maxCPUWeight),
	}
	for _, t := range l.h.trees {
		values[filepath.Join(l.dir(t), "cgroup.kill")] = "1"
	}
	delete(values, "")
	for file, value := range values {
		if err := optional(write(file, value)); err != nil {
			return err
		}
	}
	return nil
}

// signal kills the processes that are listed in a folder. Each is held by a
// pidfd before it is looked up again, so that a process that got the id of one
// that ended meanwhile is not hit.
func signal(dir string) error {
	listed, err := processes(dir)
	if err != nil {
		return optional(err)
	}
	for some := range slices.Chunk(listed, pidfds) {
		held := map[int]int{}
		for _, pid := range some {
			if fd, err := unix.PidfdOpen(pid, 0); err == nil {
				held[pid] = fd
			}
		}
		still, err := processes(dir)
		for pid, fd := range held {
			if slices.Contains(still, pid) {
				// It may have ended by now, and the list tells who has not.
				_ = unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
			}
			_ = unix.Close(fd)
		}
		if err != nil {
			return optional(err)
		}
	}
	return nil
}

// await tries until there is no error that time may heal, for so long.
func await(patience time.Duration, try func() error) error {
	deadline := time.Now().Add(patience)
	pause := 200 * time.Microsecond
	for {
		err := try()
		if err == nil || !errors.Is(err, errOccupied) && !errors.Is(err, unix.EBUSY) || time.Now().After(deadline) {
			return err
		}
		time.Sleep(pause)
		pause = min(2*pause, 20*time.Millisecond)
	}
}

// Remove removes the leaf, which must be empty. It waits up to 2 seconds for
// processes that are about to be gone. A leaf that is gone is no error.
func (l *Leaf) Remove() error {
	for _, t := range l.h.trees {
		dir := l.dir(t)
		err := await(removePatience, func() error { return unix.Rmdir(dir) })
		switch {
		case err == nil, errors.Is(err, fs.ErrNotExist):
		case errors.Is(err, unix.EBUSY):
			pids, _ := processes(dir)
			return fmt.Errorf("removing cgroup %s: %w: %v: kill them first", l.path(), errOccupied, pids)
		default:
			return fmt.Errorf("removing cgroup %s: %w", l.path(), err)
		}
	}
	return nil
}
