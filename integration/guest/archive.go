package main

import (
	"fmt"
	"io"
	"io/fs"
)

// The mode bits of an archive entry that say what it is: those of stat(2).
const (
	modeFolder = 0o040000
	modeFile   = 0o100000
)

// trailer is the name of the entry that ends an archive.
const trailer = "TRAILER!!!"

// writeArchive writes the folders and regular files of tree in the format the
// kernel unpacks its first file system from: cpio's "newc", described in the
// kernel's Documentation/driver-api/early-userspace/buffer-format.rst. Anything
// else in the tree is an error.
func writeArchive(w io.Writer, tree fs.FS) error {
	a := &archive{w: w}
	err := fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || name == "." {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		switch {
		case info.IsDir():
			return a.entry(name, modeFolder|uint32(info.Mode().Perm()), 0, nil)
		case info.Mode().IsRegular():
			file, err := tree.Open(name)
			if err != nil {
				return err
			}
			defer file.Close()
			return a.entry(name, modeFile|uint32(info.Mode().Perm()), info.Size(), file)
		default:
			return fmt.Errorf("%s is neither a file nor a folder", name)
		}
	})
	if err != nil {
		return err
	}
	return a.entry(trailer, 0, 0, nil)
}

type archive struct {
	w       io.Writer
	entries uint32
}

// entry writes one entry: its header, its name and its content, each filled up
// to a multiple of four bytes. It is owned by root and as old as the epoch, so
// that the same tree gives the same archive.
func (a *archive) entry(name string, mode uint32, size int64, content io.Reader) error {
	if size > 1<<32-1 {
		return fmt.Errorf("%s has %d bytes: the format ends at 4 GiB", name, size)
	}
	a.entries++
	header := "070701"
	for _, field := range []uint32{
		a.entries, // inode
		mode,
		0, 0, // owner, group
		1, // links
		0, // time of the last change
		uint32(size),
		0, 0, 0, 0, // device it is on, device it is
		uint32(len(name)) + 1,
		0, // checksum, of another variant of the format
	} {
		header += fmt.Sprintf("%08x", field)
	}
	head := header + name + "\x00"
	if _, err := io.WriteString(a.w, head+fill(int64(len(head)))); err != nil {
		return err
	}
	if size == 0 {
		return nil
	}
	if _, err := io.CopyN(a.w, content, size); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	_, err := io.WriteString(a.w, fill(size))
	return err
}

// fill is what length lacks to a multiple of four.
func fill(length int64) string {
	return "\x00\x00\x00"[:-length&3]
}
