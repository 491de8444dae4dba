package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
	"go.uber.org/zap"
)

// testSuffix ends the ids of files that hold unit tests and no stream, as
// upstream has it.
const testSuffix = "_benthos_test"

// streamFile is a file and the id of the stream that it defines.
type streamFile struct{ id, path string }

// failure is why it cannot be told what files define.
type failure struct {
	err error
	// path is where: all that is there or below is not known. Empty for none.
	path string
	// key is the stream or resource whose file is not known. Empty for none.
	key string
}

func streamKey(id string) string   { return "stream " + id }
func resourceKey(id string) string { return "resource " + id }

// hides says that a failure hides what the file at path says of the key.
func (f failure) hides(key, path string) bool {
	if f.path == "" {
		return f.key == key
	}
	rel, err := filepath.Rel(f.path, path)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator))
}

// joined is one error of all failures, nil for none.
func joined(failures []failure) error {
	errs := make([]error, 0, len(failures))
	for _, f := range failures {
		errs = append(errs, f.err)
	}
	return errors.Join(errs...)
}

// findStreams returns the stream files that the arguments name, each of them a
// file, a folder or a glob, with the ids that upstream gives them: a file is
// called by its name, a file found in a folder by its path below it.
func findStreams(args []string, log *zap.Logger) ([]streamFile, []failure) {
	if slices.Contains(args, "") {
		return nil, []failure{{path: ".", err: errors.New("an argument is empty, which would mean every file below this folder: name a file or a folder, . for this one")}}
	}
	targets, failures := expandGlobs(args, log)
	var found []streamFile
	for _, target := range targets {
		info, err := os.Stat(target)
		switch {
		case err != nil:
			failures = append(failures, failure{path: target, err: fmt.Errorf("cannot read the streams of an argument: %w", err)})
		case info.IsDir():
			inside, failed := walkStreams(target)
			found = append(found, inside...)
			failures = append(failures, failed...)
		default:
			found = append(found, streamFile{id: streamID(filepath.Base(target)), path: target})
		}
	}
	found, ambiguous := distinct(found)
	return found, append(failures, ambiguous...)
}

// walkStreams returns the stream files below dir in the order of their paths.
func walkStreams(dir string) (found []streamFile, failures []failure) {
	// Through os.DirFS, since filepath.WalkDir does not enter a dir that is a
	// symbolic link. It does not fail: each failure is kept where it is met.
	_ = fs.WalkDir(os.DirFS(dir), ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			failures = append(failures, failure{
				path: filepath.Join(dir, filepath.FromSlash(path)),
				err:  fmt.Errorf("cannot read the streams of folder %s: %w", dir, err),
			})
			return fs.SkipDir
		}
		name := entry.Name()
		switch {
		case name != "." && strings.HasPrefix(name, "."):
			// No id may start with a dot. This passes over the second copy of
			// each file in a Kubernetes volume, too.
			if entry.IsDir() {
				return fs.SkipDir
			}
			return nil
		case entry.IsDir(), !strings.HasSuffix(name, ".yaml") && !strings.HasSuffix(name, ".yml"):
			return nil
		}
		if id := streamID(path); !strings.HasSuffix(id, testSuffix) {
			found = append(found, streamFile{id: id, path: filepath.Join(dir, filepath.FromSlash(path))})
		}
		return nil
	})
	return found, failures
}

// streamID is the id of the file at a path with slashes, relative to the folder
// that was asked for.
func streamID(path string) string {
	id := strings.TrimSuffix(path, ".yaml")
	id = strings.TrimSuffix(id, ".yml")
	return strings.ReplaceAll(id, "/", "_")
}

// distinct drops files that were named twice, and all files of an id that two
// of them claim.
func distinct(found []streamFile) (kept []streamFile, failures []failure) {
	paths := map[string]string{}
	claimed := map[string]bool{}
	for _, file := range found {
		first, taken := paths[file.id]
		switch {
		case !taken:
			paths[file.id] = file.path
			kept = append(kept, file)
		case first != file.path:
			claimed[file.id] = true
			failures = append(failures, failure{
				key: streamKey(file.id),
				err: fmt.Errorf("stream id %q is given twice, by %s and by %s: rename one", file.id, first, file.path),
			})
		}
	}
	return slices.DeleteFunc(kept, func(f streamFile) bool { return claimed[f.id] }), failures
}

// hasMagic says that a pattern is not the path of something that is there.
func hasMagic(pattern string) bool {
	_, err := os.Lstat(pattern)
	return err != nil && strings.ContainsAny(pattern, `*?[{\`)
}

// expandGlobs returns the cleaned paths that the patterns match, without
// repetition. A pattern without magic characters stands for itself.
func expandGlobs(patterns []string, log *zap.Logger) (paths []string, failures []failure) {
	for _, pattern := range patterns {
		matches := []string{pattern}
		if hasMagic(pattern) {
			var err error
			// A folder that cannot be read is no folder without files.
			matches, err = doublestar.FilepathGlob(pattern, doublestar.WithFailOnIOErrors())
			if err != nil {
				base, _ := doublestar.SplitPattern(filepath.ToSlash(pattern))
				failures = append(failures, failure{
					path: filepath.FromSlash(base), err: fmt.Errorf("cannot expand the glob %q: %w", pattern, err),
				})
				continue
			}
			if len(matches) == 0 {
				log.Warn("a glob matches no file", zap.String("glob", pattern))
			}
			slices.Sort(matches)
		}
		for _, match := range matches {
			if path := filepath.Clean(match); !slices.Contains(paths, path) {
				paths = append(paths, path)
			}
		}
	}
	return paths, failures
}
