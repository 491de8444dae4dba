package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.uber.org/zap"

	"penstock/supervisor"
)

// splitCommas takes lists apart, as upstream does with flags that may be repeated.
func splitCommas(values []string) []string {
	var out []string
	for _, value := range values {
		out = append(out, strings.Split(value, ",")...)
	}
	return out
}

// superSuffix ends an argument that stands for all files below a folder.
const superSuffix = "..."

// findLintFiles returns the files that the arguments name, as upstream finds them:
// those below folders first, each with the id that serve would give its stream. A
// file that is not there is one of them.
func findLintFiles(args []string) ([]supervisor.LintFile, error) {
	var below, named []supervisor.LintFile
	add := func(to *[]supervisor.LintFile, path, id string) {
		same := func(f supervisor.LintFile) bool { return f.Path == path }
		if !slices.ContainsFunc(below, same) && !slices.ContainsFunc(named, same) {
			*to = append(*to, supervisor.LintFile{Path: path, ID: id})
		}
	}
	for _, arg := range args {
		dir, super := strings.CutSuffix(arg, superSuffix)
		if super {
			dir = filepath.Clean(dir)
			if err := walkLintFiles(dir, func(path, id string) { add(&below, path, id) }); err != nil {
				return nil, err
			}
			continue
		}
		paths := []string{arg}
		if hasMagic(arg) {
			var failures []failure
			paths, failures = expandGlobs([]string{arg}, zap.NewNop())
			if err := joined(failures); err != nil {
				return nil, err
			}
		}
		for _, path := range paths {
			if info, err := os.Stat(path); err == nil && info.IsDir() {
				if err := walkLintFiles(path, func(path, id string) { add(&below, path, id) }); err != nil {
					return nil, err
				}
				continue
			}
			add(&named, path, lintID(filepath.Base(path)))
		}
	}
	return append(below, named...), nil
}

// walkLintFiles calls add for each config file below dir.
func walkLintFiles(dir string, add func(path, id string)) error {
	err := fs.WalkDir(os.DirFS(dir), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if !entry.IsDir() && (strings.HasSuffix(name, ".yaml") || strings.HasSuffix(name, ".yml")) {
			add(filepath.Join(dir, filepath.FromSlash(name)), lintID(name))
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("cannot read the files of folder %s: %w", dir, err)
	}
	return nil
}

// lintID is the id of the stream that a file would define, empty where it would
// define none: where it holds tests.
func lintID(path string) string {
	if id := streamID(path); !strings.HasSuffix(id, testSuffix) {
		return id
	}
	return ""
}
