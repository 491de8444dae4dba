package integration

import (
	"fmt"
	"os"
	"runtime"

	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// programArg, as its first argument, makes the test binary one of the programs
// below: what streams execute is to be the same everywhere, also where there is
// neither a shell nor dd.
const programArg = "program-of-a-stream"

// programs are by their names. What they print is what the stream answers.
var programs = map[string]func(args []string) error{
	"sleep":  func([]string) error { time.Sleep(time.Hour); return nil },
	"forks":  forks,
	"detach": detach,
	"hold":   hold,
	"spin":   spin,
	"open":   openMany,
	"fill":   fill,
	"read":   func(args []string) error { return transfer(unix.O_RDONLY, unix.Read, args) },
	"write":  func(args []string) error { return transfer(unix.O_WRONLY, unix.Write, args) },
}

// It is not TestMain that looks for the argument, since nothing of the tests'
// own is to be made and removed by a program.
func init() {
	if len(os.Args) < 3 || os.Args[1] != programArg {
		return
	}
	code := 0
	if err := programs[os.Args[2]](os.Args[3:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	// Not os.Exit, with which the race detector takes a second.
	syscall.Exit(code)
}

// programYAML is a stream that executes the program whose name and arguments
// are posted, up to four at a time, and answers with what it prints, or with its
// error. To repeat is no program: that the stream does itself.
func programYAML(t testing.TB) string {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	return fmt.Sprintf(`
input: {http_server: {path: /post, timeout: 30s}}
pipeline:
  threads: 4
  processors:
    - switch:
        - check: content().string().has_prefix("repeat ")
          processors: [{mapping: 'root = "x".repeat(content().string().slice(7).number())'}]
        - processors:
            - command: {name: '%s', args_mapping: 'root = ["%s"].merge(content().string().split(" "))'}
            - catch: [{mapping: 'root = "error: " + error()'}]
output: {sync_response: {}}
`, self, programArg)
}

// startSleeper starts another program that does nothing.
func startSleeper(how *syscall.SysProcAttr) (*os.Process, error) {
	return os.StartProcess("/proc/self/exe", []string{os.Args[0], programArg, "sleep"}, &os.ProcAttr{Sys: how})
}

// forks starts as many processes as it is told, or as it can, prints how many
// there are and why no more, and ends them.
func forks(args []string) error {
	want, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	var made []*os.Process
	var refused error
	for len(made) < want && refused == nil {
		// They end with this thread, the program's first: should the program be
		// refused a thread and end, then nothing of it is left.
		child, err := startSleeper(&syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL})
		if err != nil {
			refused = err
			break
		}
		// That it is there is enough.
		_ = child.Signal(syscall.SIGSTOP)
		made = append(made, child)
	}
	for _, child := range made {
		_ = child.Kill()
	}
	for _, child := range made {
		_, _ = child.Wait()
	}
	fmt.Println(len(made), refused)
	return nil
}

// detach leaves a process behind that has a session of its own, and prints its
// id.
func detach([]string) error {
	child, err := startSleeper(&syscall.SysProcAttr{Setsid: true})
	if err == nil {
		fmt.Println(child.Pid)
	}
	return err
}

// hold takes so many bytes of memory, and keeps them until it is ended.
func hold(args []string) error {
	size, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	held := make([]byte, size)
	for i := 0; i < size; i += os.Getpagesize() {
		held[i] = 1
	}
	time.Sleep(time.Hour)
	runtime.KeepAlive(held)
	return nil
}

// spin computes for so many milliseconds of the processor's time.
func spin(args []string) error {
	want, err := time.ParseDuration(args[0] + "ms")
	if err != nil {
		return err
	}
	for {
		var used unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &used); err != nil {
			return err
		}
		if time.Duration(used.Nano()) >= want {
			fmt.Println(args[0])
			return nil
		}
	}
}

// openMany opens as many files as it is told, or as it can, and prints how many
// there are and why no more.
func openMany(args []string) error {
	want, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	made := 0
	var refused error
	for made < want && refused == nil {
		if _, refused = unix.Open("/", unix.O_RDONLY|unix.O_CLOEXEC, 0); refused == nil {
			made++
		}
	}
	fmt.Println(made, refused)
	return nil
}

// fill makes a file of so many bytes.
func fill(args []string) error {
	size, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	if err := os.WriteFile(args[0], make([]byte, size), 0o600); err != nil {
		return err
	}
	fmt.Println(size)
	return nil
}

// transfer reads or writes a file past the system's cache: its path, the size
// of a block, and how many blocks. It prints for how many milliseconds.
func transfer(mode int, do func(fd int, block []byte) (int, error), args []string) error {
	size, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	blocks, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	file, err := unix.Open(args[0], mode|unix.O_CREAT|unix.O_DIRECT|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return fmt.Errorf("opening %s: %w", args[0], err)
	}
	began := time.Now()
	block := aligned(size)
	for range blocks {
		if n, err := do(file, block); err != nil || n != size {
			return fmt.Errorf("%d of %d bytes of %s: %w", n, size, args[0], err)
		}
	}
	fmt.Println(time.Since(began).Milliseconds())
	return unix.Close(file)
}

// aligned is a block that a disk can be given.
func aligned(size int) []byte {
	const alignment = 4096
	block := make([]byte, size+alignment)
	at := -int(uintptr(unsafe.Pointer(unsafe.SliceData(block)))) & (alignment - 1)
	return block[at : at+size]
}

// runProgram has a stream execute a program, and wants its numbers back.
func runProgram(t testing.TB, c *client, id string, args ...any) []float64 {
	t.Helper()
	command := strings.TrimSpace(fmt.Sprintln(args...))
	return programNumbers(t, c.expect(t, 200, "POST", "/"+id+"/post", command))
}

// programNumbers are what a program has printed.
func programNumbers(t testing.TB, a answer) []float64 {
	t.Helper()
	var numbers []float64
	for _, word := range strings.Fields(a.Text()) {
		number, err := strconv.ParseFloat(word, 64)
		require.NoError(t, err, "%s", a)
		numbers = append(numbers, number)
	}
	require.NotEmpty(t, numbers, "%s", a)
	return numbers
}
