package sandbox

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// Attributes of mounts: what holds programs has noSpecial, all else noPrograms.
const (
	noSpecial  = unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV
	noPrograms = noSpecial | unix.MOUNT_ATTR_NOEXEC
	readOnly   = unix.MOUNT_ATTR_RDONLY
)

// environmentFiles are what a Go program, and the C library, read of the host
// they run on. Private keys are beside the certificates, which is why the
// folders above these are not here.
var environmentFiles = []string{
	"/etc/ssl/certs", "/etc/ssl/cert.pem", "/etc/ssl/ca-bundle.pem", "/etc/ssl/openssl.cnf",
	"/etc/pki/tls/certs", "/etc/pki/tls/cert.pem", "/etc/pki/tls/cacert.pem", "/etc/pki/ca-trust/extracted",
	"/etc/ca-certificates/extracted", "/usr/share/ca-certificates", "/usr/local/share/ca-certificates",
	"/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf", "/etc/services", "/etc/protocols",
	"/etc/localtime", "/usr/share/zoneinfo",
}

// HostFiles are the files and folders of the host that a private root may show,
// and that are other ones when somebody has put others in their place.
func HostFiles() []string { return slices.Concat(environmentFiles, libraries) }

// devices that may be read, and those of them that may be written.
var (
	devices  = []string{"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"}
	writable = devices[:3]
)

// grant is what Landlock shall allow below a file or folder.
type grant struct {
	path   string // for people
	fd     int
	access uint64
}

// entry is something of the host that the private root is to show.
type entry struct {
	source
	attributes uint64
	access     uint64
}

// enterRoot builds the private root and enters it. It leaves the process in a
// root that shows what the plan names and nothing else of the host, and returns
// what Landlock shall allow there.
func enterRoot(plan Plan) ([]grant, error) {
	const step = "build the private root"
	strict := plan.Strict
	// Were it not in namespaces of its own, this would take the host apart.
	if os.Getpid() != 1 {
		return nil, fail(step, errors.New("this process is not the first in a namespace of its own"), "penstock starts this program, nobody else")
	}
	if err := unix.Sethostname([]byte(strict.Hostname)); err != nil {
		return nil, fail("set the host name", err, "strict needs CAP_SYS_ADMIN: run penstock as root")
	}
	// From here on no mount reaches the host.
	private := unix.MountAttr{Propagation: unix.MS_PRIVATE}
	if err := unix.MountSetattr(unix.AT_FDCWD, "/", unix.AT_RECURSIVE, &private); err != nil {
		return nil, fail("separate the mounts from the host's", err, "strict needs CAP_SYS_ADMIN: run penstock as root")
	}
	// Everybody shall be able to pass the folders that are made here.
	umask := unix.Umask(0o022)
	defer unix.Umask(umask)
	root, err := mountRoot(strict.Mount)
	if err != nil {
		return nil, fail(step, err, strict.Mount+" must be an existing folder, and penstock must have CAP_SYS_ADMIN")
	}
	entries, err := collect(plan)
	if err != nil {
		return nil, err
	}
	grants, err := root.fill(strict, entries)
	if err != nil {
		return nil, fail(step, err, "the files that the sandbox shows must exist, and penstock must have CAP_SYS_ADMIN")
	}
	if err := pivot(root.fd); err != nil {
		return nil, fail("enter the private root", err, "penstock must not itself run from an initramfs")
	}
	return grants, nil
}

// mountRoot mounts an empty file system for the private root.
func mountRoot(at string) (newRoot, error) {
	// Room for mount points and two small files.
	mount, err := newMount("tmpfs", noPrograms, option{"mode", "0755"}, option{"size", "1m"}, option{"nr_inodes", "16k"})
	if err != nil {
		return newRoot{}, err
	}
	err = unix.MoveMount(mount, "", unix.AT_FDCWD, at, unix.MOVE_MOUNT_F_EMPTY_PATH)
	if err != nil {
		return newRoot{}, &fs.PathError{Op: "move_mount", Path: at, Err: err}
	}
	return newRoot{fd: mount}, nil
}

// collect finds all that the private root is to show of the host.
func collect(plan Plan) ([]entry, error) {
	const step = "find what the sandbox shows"
	var entries []entry
	add := func(paths []string, attributes, access uint64, optional bool) error {
		for _, path := range paths {
			found, err := open(path)
			if optional && errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return err
			}
			for _, dir := range append(reserved, "/") {
				if found.path == dir || dir != "/" && within(found.path, dir) {
					return fmt.Errorf("%s leads to %s: the sandbox has its own", path, found.path)
				}
			}
			entries = append(entries, entry{found, attributes, access})
		}
		return nil
	}
	if err := add(environmentFiles, readOnly|noPrograms, accessRead, true); err != nil {
		return nil, fail(step, err, "the host's own files must be root's")
	}
	programs, loaders, err := executables(plan)
	if err != nil {
		return nil, err
	}
	if len(loaders) > 0 {
		if err := add(libraries, readOnly|noSpecial, accessRead, true); err != nil {
			return nil, fail(step, err, "the host's own files must be root's")
		}
	}
	lists := []struct {
		paths              []string
		attributes, access uint64
		mend               string
	}{
		{plan.Strict.Read, readOnly | noPrograms, accessRead, "what a stream may read must exist (sandbox.read)"},
		{plan.Strict.Write, noPrograms, accessWrite, "what a stream may write must exist (sandbox.write)"},
		{loaders, readOnly | noSpecial, accessRead | unix.LANDLOCK_ACCESS_FS_EXECUTE, "the loader of a dynamic program must be installed"},
		{programs, readOnly | noSpecial, accessRead | unix.LANDLOCK_ACCESS_FS_EXECUTE, "a program must exist (allow_exec)"},
	}
	for _, list := range lists {
		if err := add(list.paths, list.attributes, list.access, false); err != nil {
			return nil, fail(step, err, list.mend)
		}
	}
	return entries, nil
}

// fill mounts everything into the new root.
func (r newRoot) fill(strict *Strict, entries []entry) ([]grant, error) {
	grants, err := r.own(strict)
	if err != nil {
		return nil, err
	}
	vacant, err := r.vacate(strict.Vacant)
	if err != nil {
		return nil, err
	}
	grants = append(grants, vacant...)
	// What contains comes before what is contained, and hides nothing of it.
	slices.SortStableFunc(entries, func(a, b entry) int { return cmp.Compare(a.path, b.path) })
	for i, e := range entries {
		for _, l := range e.links {
			if err := r.link(l); err != nil {
				return nil, err
			}
		}
		if shown(e, entries[:i]) {
			_ = unix.Close(e.fd)
			continue
		}
		mount, err := r.bind(e.source, e.attributes)
		if err != nil {
			return nil, err
		}
		_ = unix.Close(e.fd)
		grants = append(grants, grant{e.path, mount, onFile(e.access, e.dir)})
	}
	return grants, nil
}

// vacate makes empty folders where the host has others.
func (r newRoot) vacate(paths []string) ([]grant, error) {
	var grants []grant
	for _, path := range paths {
		found, err := open(path)
		if err != nil {
			return nil, err
		}
		_ = unix.Close(found.fd)
		for _, l := range found.links {
			if err := r.link(l); err != nil {
				return nil, err
			}
		}
		above, err := r.folder(filepath.Dir(found.path))
		if err != nil {
			return nil, err
		}
		// To be passed and not to be read: what will be mounted in it is granted by
		// the same rule as the folder itself.
		err = unix.Mkdirat(above, filepath.Base(found.path), 0o711)
		_ = unix.Close(above)
		if err != nil {
			return nil, &fs.PathError{Op: "mkdir", Path: found.path, Err: err}
		}
		fd, err := r.folder(found.path)
		if err != nil {
			return nil, err
		}
		grants = append(grants, grant{found.path, fd, accessWrite})
	}
	return grants, nil
}

// shown tells whether what was mounted before shows e already, and in the same
// way.
func shown(e entry, before []entry) bool {
	for _, b := range slices.Backward(before) {
		if within(e.path, b.path) {
			return e.attributes == b.attributes && e.access == b.access
		}
	}
	return false
}

// own makes what is no copy of the host's: /proc, /tmp, /dev and the names of
// the user.
func (r newRoot) own(strict *Strict) ([]grant, error) {
	proc, err := newMount("proc", noPrograms, option{"subset", "pid"}, option{"hidepid", "invisible"})
	if err != nil {
		return nil, err
	}
	if err := r.attach(proc, "/proc", true); err != nil {
		return nil, err
	}
	grants := []grant{{"/proc", proc, accessRead}}

	tmp, err := r.temporary(strict)
	if err != nil {
		return nil, err
	}
	grants = append(grants, tmp...)

	for _, device := range devices {
		found, err := open(device)
		if err != nil {
			return nil, err
		}
		mount, err := r.bind(found, readOnly|unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NOEXEC)
		if err != nil {
			return nil, err
		}
		access := uint64(unix.LANDLOCK_ACCESS_FS_READ_FILE)
		if slices.Contains(writable, device) {
			access |= unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_TRUNCATE
		}
		grants = append(grants, grant{device, mount, access})
	}

	for _, file := range names(strict.UID, strict.GID) {
		text := file.text
		if len(strict.Vacant) > 0 {
			text = ""
		}
		fd, err := r.file(file.path, text)
		if err != nil {
			return nil, err
		}
		grants = append(grants, grant{file.path, fd, unix.LANDLOCK_ACCESS_FS_READ_FILE})
	}
	return grants, nil
}

// names are the files that name the program's user and group.
func names(uid, gid uint32) []struct{ path, text string } {
	user, group := strconv.Itoa(int(uid)), strconv.Itoa(int(gid))
	return []struct{ path, text string }{
		{"/etc/passwd", "penstock:x:" + user + ":" + group + "::/tmp:/nonexistent\n"},
		{"/etc/group", "penstock:x:" + group + ":\n"},
	}
}

// temporary makes the program's own /tmp.
func (r newRoot) temporary(strict *Strict) ([]grant, error) {
	if strict.TmpBytes == 0 {
		fd, err := r.folder("/tmp")
		return []grant{{"/tmp", fd, accessRead}}, err
	}
	tmp, err := newMount("tmpfs", noPrograms,
		option{"mode", "0700"},
		option{"uid", strconv.Itoa(int(strict.UID))},
		option{"gid", strconv.Itoa(int(strict.GID))},
		option{"size", strconv.FormatInt(strict.TmpBytes, 10)},
		// Files without content take memory too, about a kilobyte each.
		option{"nr_inodes", strconv.FormatInt(max(64, strict.TmpBytes/8192), 10)})
	if err != nil {
		return nil, err
	}
	return []grant{{"/tmp", tmp, accessWrite}}, r.attach(tmp, "/tmp", true)
}

// pivot makes the new root the only one: the old one is detached, and nothing
// leads there.
func pivot(root int) error {
	if err := unix.Fchdir(root); err != nil {
		return fmt.Errorf("fchdir: %w", err)
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("pivot_root: %w", err)
	}
	// The old root lies on top of the new one.
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("umount2: %w", err)
	}
	if err := unix.Chdir("/"); err != nil {
		return fmt.Errorf("chdir: %w", err)
	}
	if err := unix.MountSetattr(unix.AT_FDCWD, "/", 0, &unix.MountAttr{Attr_set: readOnly}); err != nil {
		return fmt.Errorf("mount_setattr: %w", err)
	}
	return nil
}
