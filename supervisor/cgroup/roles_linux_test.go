package cgroup

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// openRole opens the cgroups and prints the error there is.
func openRole([]string) error {
	_, err := Open(Config{Name: "unavailable"})
	fmt.Println(errors.Is(err, ErrUnavailable), strings.ReplaceAll(fmt.Sprint(err), "\n", "; "))
	return nil
}

// ownMounts are the cgroup mounts, which this process, in a namespace of its
// own, may change without anybody's noticing.
func ownMounts() ([]mount, error) {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return nil, err
	}
	s, err := inspect()
	return s.mounts, err
}

// readOnlyRole is openRole where cgroups cannot be written, even by root.
func readOnlyRole([]string) error {
	mounts, err := ownMounts()
	if err != nil {
		return err
	}
	for _, m := range mounts {
		if err := unix.Mount("", m.point, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""); err != nil {
			return fmt.Errorf("%s: %w", m.point, err)
		}
	}
	return openRole(nil)
}

// unmountedRole is openRole where there are none.
func unmountedRole([]string) error {
	mounts, err := ownMounts()
	if err != nil {
		return err
	}
	for _, m := range mounts {
		if err := unix.Unmount(m.point, unix.MNT_DETACH); err != nil {
			return fmt.Errorf("%s: %w", m.point, err)
		}
	}
	return openRole(nil)
}

// withoutRole checks limits below the parent args[1] when the version 1
// controller args[0] is not mounted.
func withoutRole(args []string) error {
	mounts, err := ownMounts()
	if err != nil {
		return err
	}
	m, ok := system{mounts: mounts}.holding(args[0])
	if !ok {
		return fmt.Errorf("%s is not mounted anyway", args[0])
	}
	if err := unix.Unmount(m.point, unix.MNT_DETACH); err != nil {
		return err
	}
	return checkAll(Config{Parent: args[1], Name: "without"})
}

// limitedRole checks limits where it is.
func limitedRole([]string) error { return checkAll(Config{Name: "limited"}) }

// checkAll prints what becomes of a limit of each kind.
func checkAll(cfg Config) error {
	h, err := Open(cfg)
	if err != nil {
		return err
	}
	for _, c := range []struct {
		name   string
		limits Limits
	}{
		{"memory", Limits{Memory: 64 << 20}}, {"cpu", Limits{CPU: 1}},
		{"cpu_weight", Limits{CPUWeight: 10}}, {"pids", Limits{PIDs: 100}},
	} {
		checked := h.Check(c.limits)
		_, created := h.Create(c.name, c.limits)
		if errors.Is(checked, ErrUnenforceable) != errors.Is(created, ErrUnenforceable) {
			return fmt.Errorf("Check says %w, and Create %w", checked, created)
		}
		fmt.Printf("%s: %v\n", c.name, checked)
	}
	fmt.Println("offered:", h.HasMemory())
	return errors.Join(h.Sweep(nil), h.Close())
}

// wholeRole does all that a supervisor does, where it is and as who it is, and
// prints where that was.
func wholeRole([]string) error {
	h, err := Open(Config{Name: "whole"})
	if err != nil {
		return err
	}
	hog, err := h.Create("hog", Limits{Memory: 48 << 20, CPU: 2, PIDs: 100})
	if err != nil {
		return err
	}
	_, _, err = startIn(hog, "memory 256")
	if err == nil {
		return errors.New("the process outlived its memory limit")
	}
	if kills, err := hog.OOMKills(); err != nil || kills == 0 {
		return fmt.Errorf("%d processes were killed for their memory: %w", kills, err)
	}
	if err := errors.Join(hog.Kill(), hog.Remove()); err != nil {
		return err
	}
	live, err := h.Create("live", Limits{Memory: 64 << 20})
	if err != nil {
		return err
	}
	cmd, in, err := startIn(live, "echo")
	if err != nil {
		return err
	}
	defer in.Close()
	if err := live.Set(Limits{Memory: 64 << 20}, Limits{Memory: 128 << 20, CPU: 1}); err != nil {
		return err
	}
	if err := h.Sweep(nil); err != nil {
		return err
	}
	if err := cmd.Wait(); err == nil {
		return errors.New("the process outlived its leaf")
	}
	s, err := inspect()
	if err != nil {
		return err
	}
	own := s.unified
	if h.Version() == 1 {
		own = s.legacy["memory"]
	}
	fmt.Println(h.Path(), own)
	return h.Close()
}

// startIn starts a role in a leaf, without a test to fail, and returns when it
// is ready. It fails when the process ends before.
func startIn(l *Leaf, role string) (*exec.Cmd, *os.File, error) {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = []string{roleEnv + "=" + role, joinEnv + "=" + strings.Join(l.Procs(), ":")}
	folder, err := l.Open()
	if err != nil {
		return nil, nil, err
	}
	if folder != nil {
		defer folder.Close()
		cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(folder.Fd())}
	}
	read, write, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	cmd.Stdin = read
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, nil, err
	}
	err = cmd.Start()
	read.Close()
	if err != nil {
		return nil, nil, fmt.Errorf("in %s: %w", filepath.Base(l.path()), err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		return nil, nil, errors.Join(fmt.Errorf("it says %q: %w", line, err), cmd.Wait())
	}
	return cmd, write, nil
}
