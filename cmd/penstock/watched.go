package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
	"go.uber.org/zap"
)

// watched are the folders to watch, with the names in each that matter; nil
// means all of them. The folders are by their real paths, so that one which
// takes another's place by way of a symbolic link is another one here, too.
type watched map[string]map[string]bool

// folders are those in which a change can change what the source's files say.
func (s source) folders() watched {
	w := watched{}
	for _, pattern := range slices.Concat(s.args, s.resources, s.templates) {
		if hasMagic(pattern) {
			w.addGlob(pattern)
		} else {
			w.addTarget(pattern)
		}
	}
	return w
}

// matters says that the event at a path is about something that is watched.
func (w watched) matters(path string) bool {
	names, found := w[filepath.Dir(path)]
	return found && (names == nil || names[filepath.Base(path)])
}

// addGlob watches the folders in which matches can appear, and the matches.
func (w watched) addGlob(pattern string) {
	base, rest := doublestar.SplitPattern(filepath.ToSlash(pattern))
	dir := absolute(filepath.FromSlash(base))
	w.addPath(dir)
	if strings.Contains(rest, "/") {
		w.addTree(dir)
	} else {
		w.addFolder(dir)
	}
	// What cannot be expanded is told when the files are read.
	matches, _ := expandGlobs([]string{pattern}, zap.NewNop())
	for _, match := range matches {
		w.addTarget(match)
	}
}

// addTarget watches a file or folder that is named.
func (w watched) addTarget(target string) {
	path := absolute(target)
	w.addPath(path)
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		w.addTree(path)
	}
}

// addTree watches a folder and those below it, but for hidden ones.
func (w watched) addTree(dir string) {
	dir, there := realFolder(dir)
	if !there {
		return
	}
	// What cannot be read is told when the files are read.
	_ = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return fs.SkipDir
		case path != dir && strings.HasPrefix(entry.Name(), ".") && entry.IsDir():
			return fs.SkipDir
		case entry.IsDir():
			w[path] = nil
		case entry.Type()&fs.ModeSymlink != 0:
			w.addPath(path)
		}
		return nil
	})
}

func (w watched) addFolder(dir string) {
	if real, there := realFolder(dir); there {
		w[real] = nil
	}
}

// realFolder is the path of a folder without symbolic links.
func realFolder(dir string) (real string, there bool) {
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return "", false
	}
	info, err := os.Stat(real)
	return real, err == nil && info.IsDir()
}

// mostLinks is how many symbolic links are followed, as by the kernel.
const mostLinks = 40

// addPath watches for an absolute path, and for every symbolic link on the way
// to what it names: a release or a Kubernetes volume is put in place by
// changing one of these.
func (w watched) addPath(path string) {
	for range mostLinks {
		w.addName(path)
		next := w.firstLink(path)
		if next == "" {
			return
		}
		path = next
	}
}

// firstLink watches for the first symbolic link on the way to a path, and
// returns the path with the link replaced by what it says; empty for none.
func (w watched) firstLink(path string) string {
	for i := 1; i <= len(path); i++ {
		if i < len(path) && path[i] != filepath.Separator {
			continue
		}
		at := path[:i]
		info, err := os.Lstat(at)
		if err != nil {
			w.addName(at) // It is awaited.
			return ""
		}
		if info.Mode()&fs.ModeSymlink == 0 {
			continue
		}
		w.addName(at)
		target, err := os.Readlink(at)
		if err != nil {
			return ""
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(filepath.Dir(at), target)
		}
		return filepath.Join(target, path[i:])
	}
	return ""
}

// addName watches for one name in its folder, if that is there.
func (w watched) addName(path string) {
	dir, there := realFolder(filepath.Dir(path))
	if !there {
		return
	}
	names, found := w[dir]
	if found && names == nil {
		return
	}
	if !found {
		names = map[string]bool{}
		w[dir] = names
	}
	names[filepath.Base(path)] = true
}

// absolute is the path from the root; it cannot fail while the working folder
// exists.
func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}
