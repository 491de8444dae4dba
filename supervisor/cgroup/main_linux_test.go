package cgroup

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The test binary plays the processes in the leaves too: roleEnv names the part
// and joinEnv the files through which it joins its leaf first.
const (
	roleEnv = "PENSTOCK_TEST_ROLE"
	joinEnv = "PENSTOCK_TEST_JOIN"
)

func TestMain(m *testing.M) {
	part := os.Getenv(roleEnv)
	if part == "" {
		os.Exit(m.Run())
	}
	if err := join(); err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	args := strings.Fields(part)
	if err := roles[args[0]](args[1:]); err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// join does what a launcher does: it joins with one thread, and goes on in a
// new program with that thread alone.
func join() error {
	files := os.Getenv(joinEnv)
	if files == "" {
		return nil
	}
	runtime.LockOSThread()
	for file := range strings.SplitSeq(files, ":") {
		if err := write(file, "0"); err != nil {
			return err
		}
	}
	if err := os.Unsetenv(joinEnv); err != nil {
		return err
	}
	return syscall.Exec("/proc/self/exe", os.Args, os.Environ())
}

// roles are the parts. Each prints what it has done, and ends with its input.
var roles map[string]func(args []string) error

func init() {
	roles = map[string]func([]string) error{
		"echo":      echo,
		"memory":    holdMemory,
		"family":    holdMemoryBesideChild,
		"cache":     fillCache,
		"cpu":       spin,
		"cpu0":      spinOnOne,
		"forks":     fork,
		"bomb":      bomb,
		"write":     writeDirect,
		"read":      readDirect,
		"open":      openRole,
		"readonly":  readOnlyRole,
		"unmounted": unmountedRole,
		"without":   withoutRole,
		"limited":   limitedRole,
		"whole":     wholeRole,
	}
}

// echo answers each line.
func echo([]string) error {
	fmt.Println("ready")
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		fmt.Println(in.Text())
	}
	return in.Err()
}

func number64(text string) int64 {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		panic(err)
	}
	return n
}

// holdMemory takes so many MiB, one after another.
func holdMemory(args []string) error {
	for range number64(args[0]) {
		part, err := unix.Mmap(-1, 0, 1<<20, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
		if err != nil {
			return err
		}
		for i := 0; i < len(part); i += os.Getpagesize() {
			part[i] = 1
		}
	}
	return echo(nil)
}

// holdMemoryBesideChild has a child that takes nothing.
func holdMemoryBesideChild(args []string) error {
	child := exec.Command("/proc/self/exe")
	child.Env = []string{roleEnv + "=echo"}
	if _, err := child.StdinPipe(); err != nil {
		return err
	}
	out, err := child.StdoutPipe()
	if err != nil {
		return err
	}
	if err := child.Start(); err != nil {
		return err
	}
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		return err
	}
	return holdMemory(args)
}

// fillCache writes a file of so many MiB, which stays in the page cache.
func fillCache(args []string) error {
	file, err := os.Create(args[0])
	if err != nil {
		return err
	}
	part := make([]byte, 1<<20)
	for range number64(args[1]) {
		if _, err := file.Write(part); err != nil {
			return err
		}
	}
	if err := errors.Join(file.Sync(), file.Close()); err != nil {
		return err
	}
	return echo(nil)
}

// spin computes on all cores until its input ends.
func spin([]string) error {
	for range 2 * runtime.NumCPU() {
		go func() {
			for n := 0; ; n++ {
				_ = n
			}
		}()
	}
	return echo(nil)
}

// spinOnOne computes on one core, the same for all who do.
func spinOnOne([]string) error {
	pinned := make(chan error)
	go func() {
		runtime.LockOSThread()
		var cores unix.CPUSet
		cores.Set(0)
		pinned <- unix.SchedSetaffinity(0, &cores)
		for n := 0; ; n++ {
			_ = n
		}
	}()
	if err := <-pinned; err != nil {
		return err
	}
	return echo(nil)
}

// rawFork makes a process without the Go runtime's knowledge, which needs no
// thread but one.
func rawFork() (int, syscall.Errno) {
	pid, _, errno := unix.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
	return int(pid), errno
}

// fork makes children until that fails, and then lets some of them go, since
// the Go runtime may need a thread.
func fork([]string) error {
	var children []int
	var failure error
	for failure == nil {
		pid, errno := rawFork()
		switch {
		case errno != 0:
			failure = errno
		case pid == 0:
			for {
				_, _, _ = unix.RawSyscall6(unix.SYS_PPOLL, 0, 0, 0, 0, 0, 0)
			}
		default:
			children = append(children, pid)
		}
	}
	for _, pid := range children[:8] {
		_ = unix.Kill(pid, unix.SIGKILL)
		_, _ = unix.Wait4(pid, nil, 0, nil)
	}
	fmt.Println(len(children), failure)
	return echo(nil)
}

// bomb forks for ever, and so do all of its children.
func bomb([]string) error {
	fmt.Println("ready")
	for {
		if _, errno := rawFork(); errno != 0 {
			_, _, _ = unix.RawSyscall(unix.SYS_SCHED_YIELD, 0, 0, 0)
		}
	}
}

// direct does so many transfers of so many bytes past the page cache, and
// prints how many milliseconds they took.
func direct(args []string, transfer func(file *os.File, block []byte) (int, error)) error {
	file, err := os.OpenFile(args[0], os.O_RDWR|os.O_CREATE|unix.O_DIRECT, 0o600)
	if err != nil {
		return err
	}
	defer file.Close()
	// Such memory begins at a page, which direct transfers ask for.
	block, err := unix.Mmap(-1, 0, int(number64(args[1])), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return err
	}
	began := time.Now()
	for range number64(args[2]) {
		if n, err := transfer(file, block); err != nil || n != len(block) {
			return fmt.Errorf("%d of %d bytes: %w", n, len(block), err)
		}
	}
	fmt.Println(time.Since(began).Milliseconds())
	return nil
}

func writeDirect(args []string) error { return direct(args, (*os.File).Write) }

func readDirect(args []string) error { return direct(args, (*os.File).Read) }
