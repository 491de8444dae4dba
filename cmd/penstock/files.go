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

// findStreams returns the stream files that the arguments name, each of them a
// file, a folder or a glob, with the ids that upstream gives them: a file is
// called by its name, a file found in a folder by its path below it.
func findStreams(args []string, log *zap.Logger) ([]streamFile, error) {
	if slices.Contains(args, "") {
		return nil, errors.New("an argument is empty, which would mean every file below this folder: name a file or a folder, . for this one")
	}
	targets, err := expandGlobs(args, log)
	if err != nil {
		return nil, err
	}
	var found []streamFile
	for _, target := range targets {
		info, err := os.Stat(target)
		switch {
		case err != nil:
			return nil, fmt.Errorf("cannot read the streams of an argument: %w", err)
		case info.IsDir():
			inside, err := walkStreams(target)
			if err != nil {
				return nil, fmt.Errorf("cannot read the streams of folder %s: %w", target, err)
			}
			found = append(found, inside...)
		default:
			found = append(found, streamFile{id: streamID(filepath.Base(target)), path: target})
		}
	}
	return distinct(found)
}

// walkStreams returns the stream files below dir in the order of their paths.
func walkStreams(dir string) ([]streamFile, error) {
	var found []streamFile
	// Through os.DirFS, since filepath.WalkDir does not enter a dir that is a
	// symbolic link.
	err := fs.WalkDir(os.DirFS(dir), ".", func(path string, entry fs.DirEntry, err error) error {
		name := entry.Name()
		switch {
		case err != nil:
			return err
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
	return found, err
}

// streamID is the id of the file at a path with slashes, relative to the folder
// that was asked for.
func streamID(path string) string {
	id := strings.TrimSuffix(path, ".yaml")
	id = strings.TrimSuffix(id, ".yml")
	return strings.ReplaceAll(id, "/", "_")
}

// distinct drops files that were named twice, and refuses two files of one id.
func distinct(found []streamFile) ([]streamFile, error) {
	var kept []streamFile
	paths := map[string]string{}
	var errs []error
	for _, file := range found {
		first, taken := paths[file.id]
		switch {
		case !taken:
			paths[file.id] = file.path
			kept = append(kept, file)
		case first != file.path:
			errs = append(errs, fmt.Errorf("stream id %q is given twice, by %s and by %s: rename one", file.id, first, file.path))
		}
	}
	return kept, errors.Join(errs...)
}

// expandGlobs returns the cleaned paths that the patterns match, without
// repetition. A pattern without magic characters stands for itself.
func expandGlobs(patterns []string, log *zap.Logger) ([]string, error) {
	var paths []string
	for _, pattern := range patterns {
		matches := []string{pattern}
		if _, err := os.Lstat(pattern); err != nil && strings.ContainsAny(pattern, `*?[{\`) {
			matches, err = doublestar.FilepathGlob(pattern)
			if err != nil {
				return nil, fmt.Errorf("cannot expand the glob %q: %w", pattern, err)
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
	return paths, nil
}
