package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// The module that is copied, and the hash that go.sum would hold for it: a
// module that is replaced by a folder is in no go.sum.
const (
	modulePath    = "github.com/redpanda-data/connect/v4"
	moduleVersion = "v4.100.0"
	moduleSum     = "h1:mf6p8XMMhBTDtEAGyuWarm7QcEKh82R4A7JElRM63GE="
)

// stampFile tells, in the copy, what it was made from.
const stampFile = "MADE_FROM"

// The licence that a copied file has to name in its header. A file that names
// the other one anywhere is left out whatever else it says.
var (
	apache    = []byte("Licensed under the Apache License, Version 2.0")
	community = [][]byte{[]byte("Redpanda Community"), []byte("licenses/rcl.md")}
)

// leftOut are files that are under Apache-2.0 but import modules that are not:
// the exporter of the tracer redpanda is under the Business Source License.
var leftOut = []string{"internal/impl/redpanda/tracer_redpanda.go"}

// download returns the folder of the module in the module cache.
func download(root string) (string, error) {
	cmd := exec.Command("go", "mod", "download", "-json", modulePath+"@"+moduleVersion)
	cmd.Dir = filepath.Join(root, "tools")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	var got struct{ Dir, Sum, Error string }
	if decode := json.Unmarshal(out, &got); decode != nil {
		return "", errors.Join(fmt.Errorf("go mod download %s@%s: %w", modulePath, moduleVersion, decode), err)
	}
	switch {
	case got.Error != "" || err != nil:
		return "", fmt.Errorf("go mod download %s@%s: %s", modulePath, moduleVersion, got.Error)
	case got.Sum != moduleSum:
		return "", fmt.Errorf("%s@%s has the hash %s, not the %s of tools/connect", modulePath, moduleVersion, got.Sum, moduleSum)
	}
	return got.Dir, nil
}

// readOwn reads the files that are ours, by their path in the copy.
func readOwn(dir string) (map[string][]byte, error) {
	own := map[string][]byte{}
	return own, fs.WalkDir(os.DirFS(dir), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		own[name], err = os.ReadFile(filepath.Join(dir, filepath.FromSlash(name)))
		return err
	})
}

// stampOf names the module's version and hash, what is left out, and the hash of
// what is ours.
func stampOf(own map[string][]byte) string {
	sum := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(own)) {
		fmt.Fprintf(sum, "%s %d\n%s", name, len(own[name]), own[name])
	}
	return fmt.Sprintf("%s %s %s\nwithout the files that lack the Apache header, without %s, and with ours (sha256 %x)\n",
		modulePath, moduleVersion, moduleSum, strings.Join(leftOut, ", "), sum.Sum(nil))
}

// collect reads what the copy consists of: the Go files under Apache-2.0 with
// what they embed, go.mod, the licence, and our own files, which win.
func collect(dir string, own map[string][]byte) (map[string][]byte, error) {
	upstream := os.DirFS(dir)
	tree := map[string][]byte{}
	for name, as := range map[string]string{"go.mod": "go.mod", "licenses/Apache-2.0.txt": "LICENSE"} {
		text, err := fs.ReadFile(upstream, name)
		if err != nil {
			return nil, err
		}
		tree[as] = text
	}
	for _, name := range leftOut {
		if _, err := fs.Stat(upstream, name); err != nil {
			return nil, fmt.Errorf("what is to be left out: %w", err)
		}
	}
	for _, top := range []string{"internal", "public"} {
		err := fs.WalkDir(upstream, top, func(name string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || path.Ext(name) != ".go" || strings.HasSuffix(name, "_test.go") || slices.Contains(leftOut, name) {
				return err
			}
			text, err := fs.ReadFile(upstream, name)
			if err != nil || !isApache(text) {
				return err
			}
			tree[name] = text
			return embedded(upstream, name, text, tree)
		})
		if err != nil {
			return nil, err
		}
	}
	maps.Copy(tree, own)
	return tree, nil
}

// isApache tells whether a Go file is under Apache-2.0 by its own header, which
// is what stands before its package clause.
func isApache(text []byte) bool {
	for _, words := range community {
		if bytes.Contains(text, words) {
			return false
		}
	}
	header, _, found := bytes.Cut(append([]byte("\n"), text...), []byte("\npackage "))
	return found && bytes.Contains(header, apache)
}

// embedded adds the files that a Go file embeds.
func embedded(upstream fs.FS, name string, text []byte, tree map[string][]byte) error {
	for line := range strings.Lines(string(text)) {
		patterns, ok := strings.CutPrefix(strings.TrimSpace(line), "//go:embed ")
		if !ok {
			continue
		}
		for _, pattern := range strings.Fields(patterns) {
			found, err := fs.Glob(upstream, path.Join(path.Dir(name), pattern))
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			for _, at := range found {
				if err := addAll(upstream, at, tree); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// addAll adds a file, or all files of a folder.
func addAll(upstream fs.FS, at string, tree map[string][]byte) error {
	return fs.WalkDir(upstream, at, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		tree[name], err = fs.ReadFile(upstream, name)
		return err
	})
}
