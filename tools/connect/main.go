// Command connect makes the source of Redpanda Connect that our runners are
// built from: what upstream publishes under Apache-2.0, and nothing else.
//
//	go -C tools run ./connect ..
//
// Upstream's module mixes two licences file by file, and even its community
// packages import files under the Redpanda Community License. So the modules
// below cmd replace it with a copy without these, in bin/connect: every Go
// file that does not carry the Apache header is left out, and the few that are
// missed then are written by ourselves, in _own. A package that cannot do
// without what was left out does not compile, and no runner imports it.
//
// The path is relative to the repository's root. A copy that is what it should
// be is left alone.
package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// target is where the copy is made, below the root. The go.mod of each runner
// that carries upstream's components points there.
const target = "bin/connect"

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: connect ROOT")
		os.Exit(2)
	}
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "connect:", err)
		os.Exit(1)
	}
}

func run(root string) (retErr error) {
	own, err := readOwn(filepath.Join(root, "tools", "connect", "_own"))
	if err != nil {
		return err
	}
	dest := filepath.Join(root, filepath.FromSlash(target))
	stamp := stampOf(own)
	if have, err := os.ReadFile(filepath.Join(dest, stampFile)); err == nil && string(have) == stamp {
		return nil
	}
	dir, err := download(root)
	if err != nil {
		return err
	}
	tree, err := collect(dir, own)
	if err != nil {
		return err
	}
	// Made aside and moved in place, so that a copy is there wholly or not.
	if err := os.MkdirAll(filepath.Dir(dest), 0o755); err != nil {
		return err
	}
	aside, err := os.MkdirTemp(filepath.Dir(dest), "connect-")
	if err != nil {
		return err
	}
	defer func() { retErr = errors.Join(retErr, os.RemoveAll(aside)) }()
	fresh, old := filepath.Join(aside, "new"), filepath.Join(aside, "old")
	tree[stampFile] = []byte(stamp)
	if err := write(fresh, tree); err != nil {
		return err
	}
	if err := os.Rename(dest, old); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	err = os.Rename(fresh, dest)
	if have, failed := os.ReadFile(filepath.Join(dest, stampFile)); failed == nil && string(have) == stamp {
		return nil // or else another run was quicker
	}
	return err
}

// write puts every file of a tree below dir.
func write(dir string, tree map[string][]byte) error {
	for name, text := range tree {
		to := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(to, text, 0o644); err != nil {
			return err
		}
	}
	return nil
}
