package logs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
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
)

// rotation is a log's current file and its older ones beside it.
type rotation struct {
	dir string
	// base is the current file's name without its extension.
	base string
}

const extension = ".log"

func rotationOf(dir string, source Source) rotation {
	if source == SourceOutput {
		return rotation{dir: dir, base: "output"}
	}
	return rotation{dir: dir, base: "stream"}
}

func (r rotation) current() string { return filepath.Join(r.dir, r.base+extension) }

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
// opened. A folder that does not exist has no files.
func (r rotation) open() ([]*file, error) {
	for attempt := 0; ; attempt++ {
		files, err := r.openOnce()
		if err != nil {
			closeAll(files)
			if errors.Is(err, fs.ErrNotExist) && attempt < listAttempts {
				continue
			}
			return nil, fmt.Errorf("opening the log files in %s: %w", r.dir, err)
		}
		if attempt == listAttempts || r.isStill(files) {
			return files, nil
		}
		closeAll(files)
	}
}

func (r rotation) openOnce() ([]*file, error) {
	names, err := r.names()
	if err != nil {
		return nil, err
	}
	var files []*file
	for _, name := range names {
		// Whoever writes the folder must not be able to make the supervisor read
		// something else through a link, or hang on a pipe.
		f, err := os.OpenFile(filepath.Join(r.dir, name), os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
		if err != nil {
			return files, err
		}
		info, err := f.Stat()
		if err != nil {
			f.Close()
			return files, err
		}
		files = append(files, &file{File: f, info: info})
	}
	return files, nil
}

// isStill says whether these are the files, in this order.
func (r rotation) isStill(files []*file) bool {
	names, err := r.names()
	if err != nil || len(names) != len(files) {
		return false
	}
	for i, name := range names {
		info, err := os.Lstat(filepath.Join(r.dir, name))
		if err != nil || !files[i].is(info) {
			return false
		}
	}
	return true
}

// names lists the files, the oldest first. The times in the names sort as text.
func (r rotation) names() ([]string, error) {
	entries, err := os.ReadDir(r.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var names []string
	hasCurrent := false
	for _, entry := range entries {
		name := entry.Name()
		switch {
		case !entry.Type().IsRegular():
		case name == r.base+extension:
			hasCurrent = true
		case r.isBackup(name):
			names = append(names, name)
		}
	}
	if hasCurrent {
		names = append(names, r.base+extension)
	}
	return names[max(len(names)-maxFiles, 0):], nil
}

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
