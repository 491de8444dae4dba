package sandbox

import (
	"errors"
	"fmt"
	"math"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// defaultNoFile is the most files that a strict program may open without a
// limit of its own. The kernel keeps eight bytes for each, because of sealed.
const defaultNoFile = 16384

// anyProgram leaves execve and execveat as they are.
const anyProgram = -1

// execute does what is left when the process has its final privileges: limits,
// files and system calls. Then it becomes the program.
func execute(plan Plan) error {
	if plan.Strict != nil && len(plan.Strict.Exec) == 0 {
		return executeSealed(plan)
	}
	if err := setLimits(plan, plan.NoFile); err != nil {
		return err
	}
	if plan.Lock || plan.Strict != nil {
		if err := closeFiles(); err != nil {
			return err
		}
		if err := filterCalls(plan.Strict != nil, anyProgram); err != nil {
			return err
		}
	}
	return failExecute(plan, syscall.Exec(plan.Program, plan.Args, plan.Env))
}

// executeSealed executes the program so that nothing can be executed after it.
//
// System call filters see numbers, not paths, so the one execve that is left to
// do has to differ from all later ones by a number: the program is executed by
// its file descriptor, and that is beyond the limit of open files. No
// descriptor with this number can ever be opened again.
func executeSealed(plan Plan) error {
	// While other threads share the table of open files, the kernel waits ten
	// milliseconds before it makes that larger.
	if err := unix.Unshare(unix.CLONE_FILES); err != nil {
		return fail("separate the open files", err, "an outer sandbox must not forbid unshare")
	}
	program, err := unix.Open(plan.Program, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return failExecute(plan, err)
	}
	var now unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &now); err != nil {
		return fail("read the limit of open files", err, "an outer sandbox must not forbid getrlimit")
	}
	number := plan.NoFile
	if number == 0 {
		number = min(now.Max, defaultNoFile)
	}
	if number > now.Max {
		return tooMany("open files", number, now.Max)
	}
	number = min(number, now.Max-1)
	now.Cur = now.Max
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &now); err != nil {
		return fail("raise the limit of open files for a moment", err, "an outer sandbox must not forbid setrlimit")
	}
	if err := unix.Dup3(program, int(number), unix.O_CLOEXEC); err != nil {
		return fail("give the program's file a high number", err, "lower the limit of open files (nofile)")
	}
	path, args, env, err := pointers(plan)
	if err != nil {
		return failExecute(plan, err)
	}
	if err := setLimits(plan, number); err != nil {
		return err
	}
	if err := closeFiles(); err != nil {
		return err
	}
	if err := filterCalls(true, int(number)); err != nil {
		return err
	}
	// Raw, so that the Go runtime does not start a thread because this call
	// takes long.
	_, _, errno := unix.RawSyscall6(unix.SYS_EXECVEAT, uintptr(number), uintptr(unsafe.Pointer(path)),
		uintptr(unsafe.Pointer(&args[0])), uintptr(unsafe.Pointer(&env[0])), unix.AT_EMPTY_PATH, 0)
	runtime.KeepAlive(args)
	runtime.KeepAlive(env)
	return failExecute(plan, errno)
}

// pointers makes what execveat reads of an empty path, arguments and
// environment.
func pointers(plan Plan) (path *byte, args, env []*byte, err error) {
	if path, err = unix.BytePtrFromString(""); err != nil {
		return nil, nil, nil, err
	}
	if args, err = syscall.SlicePtrFromStrings(plan.Args); err != nil {
		return nil, nil, nil, err
	}
	env, err = syscall.SlicePtrFromStrings(plan.Env)
	return path, args, env, err
}

func failExecute(plan Plan, err error) error {
	mend := "it must be an executable file that the program's user may read and execute"
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOEXEC) {
		mend = "it must be a program for this machine; under strict it cannot be a script"
	}
	return fail("execute "+plan.Program, err, mend)
}

// setLimits sets the resource limits, each of them soft and hard.
func setLimits(plan Plan, noFile uint64) error {
	type limit struct {
		name     string
		resource int
		value    uint64
	}
	var limits []limit
	if noFile != 0 {
		limits = append(limits, limit{"open files", unix.RLIMIT_NOFILE, noFile})
	}
	if plan.FileSize != 0 {
		limits = append(limits, limit{"bytes in a file", unix.RLIMIT_FSIZE, plan.FileSize})
	}
	if plan.Lock || plan.Strict != nil {
		limits = append(limits, limit{"bytes of core dump", unix.RLIMIT_CORE, 0})
	}
	if plan.Strict != nil {
		limits = append(limits,
			limit{"bytes of locked memory", unix.RLIMIT_MEMLOCK, 0},
			limit{"bytes in message queues", unix.RLIMIT_MSGQUEUE, 0},
			limit{"real-time priority", unix.RLIMIT_RTPRIO, 0},
			limit{"raised priority", unix.RLIMIT_NICE, 0},
		)
	}
	for _, l := range limits {
		var now unix.Rlimit
		if err := unix.Getrlimit(l.resource, &now); err != nil {
			return fail("read the limit of "+l.name, err, "an outer sandbox must not forbid getrlimit")
		}
		if l.value > now.Max {
			return tooMany(l.name, l.value, now.Max)
		}
		if err := unix.Setrlimit(l.resource, &unix.Rlimit{Cur: l.value, Max: l.value}); err != nil {
			return fail("limit the "+l.name, err, "an outer sandbox must not forbid setrlimit")
		}
	}
	return nil
}

// tooMany refuses a limit that only CAP_SYS_RESOURCE could grant.
func tooMany(name string, wanted, hard uint64) error {
	return fail("limit the "+name, fmt.Errorf("%d is above penstock's own hard limit, %d", wanted, hard),
		"lower the stream's limit, or raise penstock's own (ulimit -H, or LimitNOFILE= of its unit)")
}

// closeFiles lets the program inherit nothing but its three standard files.
func closeFiles() error {
	if err := unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return fail("close inherited files", err, "this needs Linux 5.11")
	}
	return nil
}
