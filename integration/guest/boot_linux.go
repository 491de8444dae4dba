package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// boot is the life of process 1, which must not end: it makes the machine
// usable, runs the plan, says the verdict and switches the machine off.
func boot() {
	failed := 0
	if err := prepare(); err != nil {
		fmt.Println("guest:", err)
		failed++
	} else {
		fmt.Println("guest:", describe())
		for _, c := range plan {
			began := time.Now()
			err := run(c.Program, c.Tests)
			if err != nil {
				failed++
			}
			fmt.Printf("guest: %s ended after %.1f s: %v\n", c.Program, time.Since(began).Seconds(), orSuccess(err))
		}
	}
	if failed == 0 {
		fmt.Println(verdict, "PASS")
	} else {
		fmt.Println(verdict, "FAIL", failed)
	}
	unix.Sync()
	err := unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
	fmt.Println("guest: switching off:", err)
	select {} // the emulator's deadline ends it
}

func orSuccess(err error) string {
	if err == nil {
		return "success"
	}
	return err.Error()
}

// prepare gives the machine what a started system has.
func prepare() error {
	for _, step := range []func() error{ownRoot, mountAll, loadModules, mountDisk, loopbackUp, writeNames, enterCgroup} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// ownRoot makes the root a mount like any other. The file system that the
// kernel starts with cannot be pivoted away from, which is how a process gets
// a root of its own.
func ownRoot() error {
	const base = "/root"
	if err := os.MkdirAll(base, 0o700); err != nil {
		return err
	}
	if err := unix.Mount("/", base, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("binding the root: %w", err)
	}
	if err := unix.Chdir(base); err != nil {
		return err
	}
	if err := unix.Mount(".", "/", "", unix.MS_MOVE, ""); err != nil {
		return fmt.Errorf("moving the root: %w", err)
	}
	return errors.Join(unix.Chroot("."), unix.Chdir("/"))
}

func mountAll() error {
	for _, m := range []struct{ kind, at, options string }{
		{"proc", "/proc", ""},
		{"sysfs", "/sys", ""},
		{"devtmpfs", "/dev", ""},
		{"devpts", "/dev/pts", "ptmxmode=0666"},
		{"tmpfs", "/dev/shm", "mode=1777"},
		{"tmpfs", "/tmp", "mode=1777"},
		{"tmpfs", "/run", "mode=0755"},
		{"cgroup2", "/sys/fs/cgroup", ""},
	} {
		if err := mount(m.kind, m.kind, m.at, m.options); err != nil {
			return err
		}
	}
	return nil
}

func mount(source, kind, at, options string) error {
	if err := os.MkdirAll(at, 0o755); err != nil {
		return err
	}
	if err := unix.Mount(source, at, kind, 0, options); err != nil {
		return fmt.Errorf("mounting %s on %s: %w", kind, at, err)
	}
	return nil
}

// loadModules loads the kernel modules that were packed; the kernel
// decompresses them itself.
func loadModules() error {
	files, err := filepath.Glob(modules + "/*")
	if err != nil {
		return err
	}
	for _, path := range files {
		file, err := os.Open(path)
		if err != nil {
			return err
		}
		flags := 0
		if !strings.HasSuffix(path, ".ko") {
			flags = unix.MODULE_INIT_COMPRESSED_FILE
		}
		err = unix.FinitModule(int(file.Fd()), "", flags)
		file.Close()
		if err != nil {
			return fmt.Errorf("loading %s: %w", path, err)
		}
	}
	return nil
}

// mountDisk mounts the disk, which appears a moment after its driver.
func mountDisk() error {
	const device = "/dev/vda"
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(device); err == nil {
			break
		} else if time.Now().After(deadline) {
			return fmt.Errorf("the disk did not appear: %w", err)
		}
	}
	return mount(device, "ext4", disk, "")
}

func loopbackUp() error {
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(socket)
	request, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	request.SetUint16(unix.IFF_UP)
	if err := unix.IoctlIfreq(socket, unix.SIOCSIFFLAGS, request); err != nil {
		return fmt.Errorf("setting the loopback interface up: %w", err)
	}
	return nil
}

// writeNames gives the machine, its loopback and its root user their names.
func writeNames() error {
	for path, text := range map[string]string{
		"/etc/hosts":  "127.0.0.1 localhost guest\n::1 localhost\n",
		"/etc/passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
		"/etc/group":  "root:x:0:\nnogroup:x:65534:\n",
	} {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return err
		}
	}
	return unix.Sethostname([]byte("guest"))
}

// enterCgroup leaves the root cgroup, in which no process of a started system
// is either.
func enterCgroup() error {
	const own = "/sys/fs/cgroup/guest"
	if err := os.Mkdir(own, 0o755); err != nil {
		return err
	}
	return os.WriteFile(own+"/cgroup.procs", []byte("0"), 0)
}

// describe tells what tests may find here.
func describe() string {
	var name unix.Utsname
	_ = unix.Uname(&name)
	var now unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &now)
	controllers, _ := os.ReadFile("/sys/fs/cgroup/cgroup.controllers")
	abi, _, _ := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	_, err := os.Stat("/proc/pressure/memory")
	return fmt.Sprintf("Linux %s, ready %.1f s after it booted; cgroup v2: %s; Landlock ABI %d; pressure: %t",
		unix.ByteSliceToString(name.Release[:]), time.Duration(now.Nano()).Seconds(),
		strings.TrimSpace(string(controllers)), abi, err == nil)
}

// run runs one compiled test and waits for it. Meanwhile it waits for whatever
// else has become a child of process 1, as it must: a test that looks whether
// a process has ended would find it there otherwise.
func run(program, tests string) error {
	if only := os.Getenv(onlyEnv); only != "" {
		tests = only
	}
	path := filepath.Join(programs, program)
	pid, err := syscall.ForkExec(path, []string{
		path, "-test.v", "-test.run", tests, "-test.timeout", limit.String(),
	}, &syscall.ProcAttr{
		Dir: programs,
		Env: []string{
			"CI=true", "HOME=/root", "PATH=" + programs, "TMPDIR=" + disk,
			"PENSTOCK_TEST_BIN=" + programs,
		},
		Files: []uintptr{0, 1, 2},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		return fmt.Errorf("starting it: %w", err)
	}
	for {
		var status syscall.WaitStatus
		ended, err := syscall.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			return fmt.Errorf("waiting for it: %w", err)
		case ended != pid:
		case status.Signaled():
			return fmt.Errorf("signal %s", status.Signal())
		case status.ExitStatus() != 0:
			return fmt.Errorf("exit status %d", status.ExitStatus())
		default:
			return nil
		}
	}
}
