package logs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"penstock/supervisor/folder"
)

const (
	// backupTime is how lumberjack writes the time of a rotation into a name.
	backupTime = "2006-01-02T15-04-05.000"
	// listAttempts is how often the files are listed again when they were
	// rotated in between.
	listAttempts = 20
	// maxFiles is how many files of a log are read, the newest ones. lumberjack
	// keeps fewer; whoever else writes the folder must not use up our files.
	maxFiles = 8
	// maxEntries is how many entries of the folder are looked at. It is the
	// stream's, and can hold any number of other files.
	maxEntries = 100_000
)

// rotation is a log's current file and its older ones beside it.
type rotation struct {
	dir string
	// base is the current file's name without its extension.
	base string
	// entries is how many of the folder's entries are looked at.
	entries int
}

const extension = ".log"

func rotationOf(dir string, source Source) rotation {
	if source == SourceOutput {
		return rotation{dir: dir, base: "output", entries: maxEntries}
	}
	return rotation{dir: dir, base: "stream", entries: maxEntries}
}

func (r rotation) current() string { return r.base + extension }

func (r rotation) path(name string) string { return filepath.Join(r.dir, name) }

// file is one file of a log, open.
type file struct {
	*os.File
	// info is as of opening. While the file is open its identity cannot become
	// another's.
	info os.FileInfo
}

func (f *file) is(info os.FileInfo) bool { return os.SameFile(f.info, info) }

// open opens the files, the oldest first. A rotation meanwhile would leave one
// out: the list is taken again until it has not changed while the files were
// opened. A folder that does not exist has no files. What only has the name of a
// log file is passed over. The notice tells of files that may be missing; empty
// for none.
func (r rotation) open() (files []*file, notice string, err error) {
	for attempt := 1; ; attempt++ {
		names, all, err := r.names()
		if err != nil {
			return nil, "", fmt.Errorf("listing the log files in %s: %w", r.dir, err)
		}
		files, refusal, err := r.openAll(names)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, "", fmt.Errorf("opening the log files in %s: %w", r.dir, err)
		}
		if attempt < listAttempts && (err != nil || !r.isStill(names, files)) {
			closeAll(files)
			continue
		}
		switch {
		case !all:
			notice = fmt.Sprintf("Lines may be missing here: the log's folder has more than %d entries, and older log files were not looked for among the others", r.entries)
		case refusal != nil:
			notice = fmt.Sprintf("Lines may be missing here: a log file is not read: %v", refusal)
		}
		return files, notice, nil
	}
}

// openAll opens the files. A refusal is why one of them is passed over. With
// the error fs.ErrNotExist, which says that one is gone, the others are open.
func (r rotation) openAll(names []string) (files []*file, refusal, err error) {
	var gone error
	for _, name := range names {
		f, err := r.openOne(name)
		switch {
		case err == nil:
			files = append(files, f)
		case errors.Is(err, folder.ErrTampered):
			refusal = err
		case errors.Is(err, fs.ErrNotExist):
			gone = err
		default:
			closeAll(files)
			return nil, nil, err
		}
	}
	return files, refusal, gone
}

func (r rotation) openOne(name string) (*file, error) {
	f, err := folder.Open(r.dir, name)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, err
	}
	return &file{File: f, info: info}, nil
}

// isStill says whether the names are still the same, and the open files still
// theirs.
func (r rotation) isStill(names []string, files []*file) bool {
	now, _, err := r.names()
	if err != nil || !slices.Equal(now, names) {
		return false
	}
	for _, name := range names {
		info, err := os.Lstat(r.path(name))
		if err == nil && len(files) > 0 && files[0].is(info) {
			files = files[1:]
		}
	}
	return len(files) == 0
}

// names lists the files, the oldest first: the times in the names sort as text,
// and the current file's name after them.
func (r rotation) names() (names []string, all bool, err error) {
	names, all, err = folder.Names(r.dir, r.entries, r.isOurs)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, true, nil
	}
	if err != nil {
		return nil, false, err
	}
	if !all && !slices.Contains(names, r.current()) {
		if _, err := os.Lstat(r.path(r.current())); err == nil {
			names = append(names, r.current())
		}
	}
	return names[max(len(names)-maxFiles, 0):], all, nil
}

// isOurs says whether a name is one of this log's.
func (r rotation) isOurs(name string) bool { return name == r.current() || r.isBackup(name) }

func (r rotation) isBackup(name string) bool {
	at, ok := strings.CutPrefix(name, r.base+"-")
	if !ok {
		return false
	}
	if at, ok = strings.CutSuffix(at, extension); !ok {
		return false
	}
	_, err := time.Parse(backupTime, at)
	return err == nil
}

func closeAll(files []*file) {
	for _, f := range files {
		f.Close()
	}
}
