package catalogue

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"
)

// file tells a file from another that was put in its place, and from what it was
// before it was written over.
type file struct {
	// place is its device and inode.
	place    string
	size     int64
	modified time.Time
}

func fileOf(info os.FileInfo) file {
	out := file{size: info.Size(), modified: info.ModTime()}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		out.place = fmt.Sprint(stat.Dev, " ", stat.Ino)
	}
	return out
}

func (f file) same(other file) bool {
	return f.place == other.place && f.size == other.size && f.modified.Equal(other.modified)
}

// found is a runner's binary as a look at the disk has found it.
type found struct {
	name, path string
	file       file
}

func (f found) same(other found) bool {
	return f.name == other.name && f.path == other.path && f.file.same(other.file)
}

// nameRule is what the name of a runner may be, which a file's name ends in.
var nameRule = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,63}$`)

// ValidName says whether a runner can have that name.
func ValidName(name string) bool { return nameRule.MatchString(name) }

// NameRule says which names a runner can have, for people.
const NameRule = "use 1 to 64 of a-z 0-9 _ - and begin with a letter or a digit"

// beside lists the runners in the folder of the core runner's binary: executable
// files that are called as that one is, with a name appended. Others, such as one
// that is being copied to its place, are none.
func beside(core string) map[string]string {
	out := map[string]string{}
	// Without the folder there is no core runner either, whose start says so.
	entries, _ := os.ReadDir(filepath.Dir(core))
	for _, entry := range entries {
		name, ok := strings.CutPrefix(entry.Name(), filepath.Base(core)+"-")
		if ok && name != Core && ValidName(name) {
			out[name] = filepath.Join(filepath.Dir(core), entry.Name())
		}
	}
	return out
}

// executable is the file of a path that may be executed.
func executable(path string) (file, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return file{}, err
	case !info.Mode().IsRegular():
		return file{}, fmt.Errorf("%s is no file", path)
	case info.Mode()&0o111 == 0:
		return file{}, fmt.Errorf("%s is not executable (mode %s)", path, info.Mode().Perm())
	}
	return fileOf(info), nil
}

// mark tells the binary from others: by the build id that Go's linker gave it, or
// where it is when it has none, and by its size and the time of its last change, since
// people may give several binaries one id by -ldflags=-buildid. It is fit for a file's
// name.
func (f found) mark() string {
	id := cmp.Or(goBuildID(f.path), fmt.Sprint(f.path, f.file.place))
	sum := sha256.Sum256(fmt.Append(nil, id, f.file.size, f.file.modified.UnixNano()))
	return hex.EncodeToString(sum[:16])
}

// goBuildID reads the note that Go's linker leaves; empty for a file that has none.
func goBuildID(path string) string {
	program, err := elf.Open(path)
	if err != nil {
		return ""
	}
	defer program.Close()
	section := program.Section(".note.go.buildid")
	const head, longest = 12, 4096
	if section == nil || section.Size > longest {
		return ""
	}
	note, err := section.Data()
	if err != nil || len(note) < head+4 {
		return ""
	}
	order := program.ByteOrder
	size := order.Uint32(note[4:])
	rest := note[head:]
	if order.Uint32(note) != 4 || !bytes.HasPrefix(rest, []byte("Go\x00\x00")) || uint64(size) > uint64(len(rest)-4) {
		return ""
	}
	return string(rest[4 : 4+size])
}
