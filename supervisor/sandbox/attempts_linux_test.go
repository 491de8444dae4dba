package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// world is what the attempts aim at. The test makes it.
type world struct {
	Canary        string // a file of the host's that everybody may read
	Shared        string // a folder in Strict.Read, with a file in it
	Own           string // the program's own folder, with a file "program" that can be executed
	Supervisor    int    // process ids
	Sibling       int
	HostAbstract  string // unix sockets
	HostSocket    string
	OtherAbstract string
	OtherSocket   string
	Open, Closed  uint16 // TCP ports with a listener: in ConnectPorts, and not
	Free, Taken   uint16 // TCP ports without one: in BindPorts, and not
	Inherited     int    // a file descriptor that was left open
	SealedProgram int    // the number of the program's own
}

// tryAll makes the attempts with these names, and returns how each ended:
// "ok", or the error's name.
func tryAll(text string, names []string) map[string]string {
	// Privileges and limits belong to the thread.
	runtime.LockOSThread()
	var w world
	if err := json.Unmarshal([]byte(text), &w); err != nil {
		return map[string]string{"world": err.Error()}
	}
	results := map[string]string{}
	for _, a := range attempts {
		for _, name := range names {
			if a.name == name {
				results[name] = outcome(a.try(w))
			}
		}
	}
	return results
}

func outcome(err error) string {
	var errno syscall.Errno
	switch {
	case err == nil:
		return "ok"
	case errors.As(err, &errno) && errno == 0:
		return "ok"
	case errors.As(err, &errno):
		return unix.ErrnoName(errno)
	}
	return err.Error()
}

// call makes a system call.
func call(number uintptr, args ...uintptr) error {
	var a [6]uintptr
	copy(a[:], args)
	if _, _, errno := unix.Syscall6(number, a[0], a[1], a[2], a[3], a[4], a[5]); errno != 0 {
		return errno
	}
	return nil
}

func pointer(text string) uintptr {
	p, err := unix.BytePtrFromString(text)
	if err != nil {
		panic(err)
	}
	pinned = append(pinned, p)
	return uintptr(unsafe.Pointer(p))
}

// pinned keeps what only system calls point to.
var pinned []*byte

func read(path string) error {
	_, err := os.ReadFile(path)
	return err
}

// write opens for writing, and writes nothing: what is aimed at may be real.
func write(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	return f.Close()
}

func createFile(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(path))
}

// start starts a program and waits for it.
func start(path string) error {
	p, err := os.StartProcess(path, []string{path}, &os.ProcAttr{})
	if err != nil {
		return err
	}
	state, err := p.Wait()
	if err == nil && !state.Success() {
		return errors.New(state.String())
	}
	return err
}

// startFile starts what is behind a file descriptor.
func startFile(fd int) error {
	name := fmt.Sprintf("/proc/self/fd/%d", fd)
	return start(name)
}

func dropped(w world) (*os.File, error) { return os.Open(filepath.Join(w.Own, "program")) }

// drop writes a program of our own to a place and starts it.
func drop(w world, at string) error {
	text, err := os.ReadFile(filepath.Join(w.Own, "program"))
	if err != nil {
		return err
	}
	if err := os.WriteFile(at, text, 0o700); err != nil {
		return err
	}
	defer os.Remove(at)
	return start(at)
}

func dial(network, address string) error {
	conn, err := net.Dial(network, address)
	if err != nil {
		return err
	}
	return conn.Close()
}

func socket(domain, kind, protocol int) error {
	fd, err := unix.Socket(domain, kind|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		return err
	}
	return unix.Close(fd)
}

// onSocket does something with a TCP socket.
func onSocket(do func(fd int) error) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	return errors.Join(do(fd), unix.Close(fd))
}

func loopback(port uint16) *unix.SockaddrInet4 {
	return &unix.SockaddrInet4{Port: int(port), Addr: [4]byte{127, 0, 0, 1}}
}

func bind(port uint16) error {
	return onSocket(func(fd int) error {
		// The last use of the port may linger.
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
			return err
		}
		return unix.Bind(fd, loopback(port))
	})
}

func connect(port uint16) error {
	return onSocket(func(fd int) error { return unix.Connect(fd, loopback(port)) })
}

func fastOpen(port uint16) error {
	return onSocket(func(fd int) error { return unix.Sendto(fd, []byte("x"), unix.MSG_FASTOPEN, loopback(port)) })
}

// attempt is one try to do what a stream must not, or must be able to, and how
// it ends in each profile. "-" is not tried: it would do harm, or end otherwise
// from machine to machine.
type attempt struct {
	name string
	try  func(w world) error
	// none is without any confinement: it shows that the attempt is a real one.
	none, standard, strict string
}

// never are system calls that no profile has. Their arguments are nonsense, so
// that without the filter the error is another one, or nothing happens.
var never = map[string]uintptr{
	"process_vm_readv": unix.SYS_PROCESS_VM_READV, "process_vm_writev": unix.SYS_PROCESS_VM_WRITEV,
	"process_madvise": unix.SYS_PROCESS_MADVISE, "process_mrelease": unix.SYS_PROCESS_MRELEASE,
	"ptrace": unix.SYS_PTRACE, "kcmp": unix.SYS_KCMP, "pidfd_getfd": unix.SYS_PIDFD_GETFD,
	"perf_event_open": unix.SYS_PERF_EVENT_OPEN, "mount": unix.SYS_MOUNT, "umount2": unix.SYS_UMOUNT2,
	"pivot_root": unix.SYS_PIVOT_ROOT, "chroot": unix.SYS_CHROOT, "open_tree": unix.SYS_OPEN_TREE,
	"open_tree_attr": unix.SYS_OPEN_TREE_ATTR, "move_mount": unix.SYS_MOVE_MOUNT, "fsopen": unix.SYS_FSOPEN,
	"fsconfig": unix.SYS_FSCONFIG, "fsmount": unix.SYS_FSMOUNT, "fspick": unix.SYS_FSPICK,
	"mount_setattr": unix.SYS_MOUNT_SETATTR, "statmount": unix.SYS_STATMOUNT, "listmount": unix.SYS_LISTMOUNT,
	"unshare": unix.SYS_UNSHARE, "setns": unix.SYS_SETNS, "name_to_handle_at": unix.SYS_NAME_TO_HANDLE_AT,
	"open_by_handle_at": unix.SYS_OPEN_BY_HANDLE_AT, "fanotify_init": unix.SYS_FANOTIFY_INIT,
	"fanotify_mark": unix.SYS_FANOTIFY_MARK, "quotactl": unix.SYS_QUOTACTL, "quotactl_fd": unix.SYS_QUOTACTL_FD,
	"keyctl": unix.SYS_KEYCTL, "add_key": unix.SYS_ADD_KEY, "request_key": unix.SYS_REQUEST_KEY, "bpf": unix.SYS_BPF,
	"io_uring_setup": unix.SYS_IO_URING_SETUP, "io_uring_enter": unix.SYS_IO_URING_ENTER,
	"io_uring_register": unix.SYS_IO_URING_REGISTER, "userfaultfd": unix.SYS_USERFAULTFD,
	"memfd_secret": unix.SYS_MEMFD_SECRET, "init_module": unix.SYS_INIT_MODULE,
	"finit_module": unix.SYS_FINIT_MODULE, "delete_module": unix.SYS_DELETE_MODULE,
	"kexec_load": unix.SYS_KEXEC_LOAD, "kexec_file_load": unix.SYS_KEXEC_FILE_LOAD, "reboot": unix.SYS_REBOOT,
	"swapon": unix.SYS_SWAPON, "swapoff": unix.SYS_SWAPOFF, "acct": unix.SYS_ACCT,
	"settimeofday": unix.SYS_SETTIMEOFDAY, "clock_settime": unix.SYS_CLOCK_SETTIME,
	"clock_adjtime": unix.SYS_CLOCK_ADJTIME, "adjtimex": unix.SYS_ADJTIMEX, "syslog": unix.SYS_SYSLOG,
	"vhangup": unix.SYS_VHANGUP, "sethostname": unix.SYS_SETHOSTNAME, "setdomainname": unix.SYS_SETDOMAINNAME,
	"move_pages": unix.SYS_MOVE_PAGES, "migrate_pages": unix.SYS_MIGRATE_PAGES, "mbind": unix.SYS_MBIND,
	"set_mempolicy": unix.SYS_SET_MEMPOLICY, "set_mempolicy_home_node": unix.SYS_SET_MEMPOLICY_HOME_NODE,
	"nfsservctl": unix.SYS_NFSSERVCTL, "lookup_dcookie": unix.SYS_LOOKUP_DCOOKIE,
}

// attempts are all of them: those below, and one for each system call that is
// denied.
var attempts = func() []attempt {
	all := append(append(fileAttempts, processAttempts...), networkAttempts...)
	all = append(all, machineAttempts...)
	for name, number := range never {
		all = append(all, attempt{"system call " + name, func(world) error {
			return call(number, ^uintptr(0), ^uintptr(0), ^uintptr(0), ^uintptr(0), ^uintptr(0), ^uintptr(0))
		}, "-", "EPERM", "EPERM"})
	}
	return all
}()

// fileAttempts are about files and folders.
var fileAttempts = []attempt{
	{"read /etc/shadow", func(world) error { return read("/etc/shadow") }, "ok", "ok", "ENOENT"},
	{"read a file of the host", func(w world) error { return read(w.Canary) }, "ok", "ok", "ENOENT"},
	{"read it by the root of process 1", func(w world) error { return read("/proc/1/root" + w.Canary) }, "-", "EACCES", "ENOENT"},
	{"read it by ..", func(w world) error { return read("/../../.." + w.Canary) }, "ok", "ok", "ENOENT"},
	{"read it by a link", func(w world) error {
		link := filepath.Join(w.Own, "link")
		if err := os.Symlink(w.Canary, link); err != nil {
			return err
		}
		return errors.Join(read(link), os.Remove(link))
	}, "ok", "-", "ENOENT"},
	{"read the supervisor's environment", func(w world) error { return read(fmt.Sprintf("/proc/%d/environ", w.Supervisor)) }, "ok", "EACCES", "ENOENT"},
	{"read a sibling's environment", func(w world) error { return read(fmt.Sprintf("/proc/%d/environ", w.Sibling)) }, "ok", "EACCES", "ENOENT"},
	{"list /", func(world) error { _, err := os.ReadDir("/"); return err }, "ok", "ok", "EACCES"},
	{"list /etc", func(world) error { _, err := os.ReadDir("/etc"); return err }, "ok", "ok", "EACCES"},
	{"read /proc/kallsyms", func(world) error { return read("/proc/kallsyms") }, "-", "-", "ENOENT"},
	{"write to /proc/sys", func(world) error { return write("/proc/sys/kernel/hostname") }, "ok", "EROFS", "ENOENT"},
	{"open a cgroup to write", func(world) error { return openCgroup() }, "ok", "EROFS", "ENOENT"},
	{"write a process's oom_score_adj", func(world) error { return write("/proc/self/oom_score_adj") }, "ok", "ok", "EACCES"},
	{"list /sys", func(world) error { _, err := os.ReadDir("/sys"); return err }, "ok", "ok", "ENOENT"},
	{"open /dev/kmsg", func(world) error { return write("/dev/kmsg") }, "ok", "ok", "ENOENT"},
	{"open /dev/tty", func(world) error { return write("/dev/tty") }, "-", "-", "ENOENT"},
	{"write beside the canary", func(w world) error { return createFile(w.Canary + ".new") }, "ok", "ok", "ENOENT"},
	{"write to /", func(world) error { return createFile("/penstock-escape") }, "ok", "ok", "EROFS"},
	{"write to /etc", func(world) error { return createFile("/etc/penstock-escape") }, "ok", "ok", "EROFS"},
	{"make a folder in /", func(world) error {
		return errors.Join(os.Mkdir("/penstock-escape", 0o700), os.Remove("/penstock-escape"))
	}, "ok", "ok", "EROFS"},
	{"write to the program", func(world) error { return write("/proc/self/exe") }, "ETXTBSY", "ETXTBSY", "EACCES"},
	{"read what is shared", func(w world) error { return read(filepath.Join(w.Shared, "file")) }, "ok", "ok", "ok"},
	{"write what is shared", func(w world) error { return write(filepath.Join(w.Shared, "file")) }, "ok", "ok", "EROFS"},
	{"truncate what is shared", func(w world) error { return os.Truncate(filepath.Join(w.Shared, "file"), 1) }, "ok", "ok", "EROFS"},
	{"remove what is shared", func(w world) error { return os.Remove(filepath.Join(w.Shared, "extra")) }, "-", "-", "EROFS"},
	{"link what is shared", func(w world) error {
		return errors.Join(os.Link(filepath.Join(w.Shared, "file"), filepath.Join(w.Own, "hard")), os.Remove(filepath.Join(w.Own, "hard")))
	}, "-", "-", "EXDEV"},
	{"write to its own folder", func(w world) error { return createFile(filepath.Join(w.Own, "new")) }, "ok", "-", "ok"},
	{"move within its own folder", func(w world) error {
		from, dir := filepath.Join(w.Own, "from"), filepath.Join(w.Own, "dir")
		return errors.Join(os.WriteFile(from, nil, 0o600), os.Mkdir(dir, 0o700), os.Rename(from, filepath.Join(dir, "to")), os.RemoveAll(dir))
	}, "ok", "-", "ok"},
	{"write to its own /tmp", func(world) error { return createFile("/tmp/penstock-new") }, "ok", "ok", "ok"},
	{"fill its own /tmp", func(world) error {
		err := os.WriteFile("/tmp/penstock-full", make([]byte, 2<<20), 0o600)
		return errors.Join(err, os.Remove("/tmp/penstock-full"))
	}, "-", "-", "ENOSPC"},
	{"use up the inodes of its own /tmp", func(world) error {
		defer os.RemoveAll("/tmp/many")
		if err := os.Mkdir("/tmp/many", 0o700); err != nil {
			return err
		}
		for i := range 1000 {
			if err := os.WriteFile(fmt.Sprint("/tmp/many/", i), nil, 0o600); err != nil {
				return err
			}
		}
		return nil
	}, "ok", "ok", "ENOSPC"},
	{"make a device", func(w world) error {
		device := filepath.Join(w.Own, "device")
		return errors.Join(unix.Mknod(device, unix.S_IFCHR|0o600, 0x103), os.Remove(device))
	}, "ok", "-", "EACCES"},
	{"write to /dev/null", func(world) error { return os.WriteFile("/dev/null", []byte("x"), 0) }, "ok", "ok", "ok"},
	{"read random numbers", func(world) error { f, err := os.Open("/dev/urandom"); return errors.Join(err, f.Close()) }, "ok", "ok", "ok"},
	{"read the resolver's configuration", func(world) error { return read("/etc/resolv.conf") }, "ok", "ok", "ok"},
	{"read the certificates", func(world) error { return read("/etc/ssl/certs/ca-certificates.crt") }, "ok", "ok", "ok"},
	{"read a time zone", func(world) error { return read("/usr/share/zoneinfo/Europe/Berlin") }, "ok", "ok", "ok"},
	{"read an inherited file", func(w world) error {
		return call(unix.SYS_FSTAT, uintptr(w.Inherited), uintptr(unsafe.Pointer(&unix.Stat_t{})))
	}, "ok", "EBADF", "EBADF"},
}

// openCgroup opens the file of a cgroup that decides who is in it, of whatever
// version is mounted.
func openCgroup() error {
	for _, path := range []string{"/sys/fs/cgroup/cgroup.procs", "/sys/fs/cgroup/pids/cgroup.procs"} {
		file, err := os.OpenFile(path, os.O_WRONLY, 0)
		if errors.Is(err, unix.ENOENT) {
			continue
		}
		if err != nil {
			return err
		}
		return file.Close()
	}
	return unix.ENOENT
}
