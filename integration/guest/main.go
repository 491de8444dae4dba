package main

import (
	"bufio"
	"fmt"
	"os"
)

func main() {
	if os.Getpid() == 1 {
		boot()
	}
	if err := pack(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "guest:", err)
		os.Exit(1)
	}
}

// pack writes what the machine starts with: a folder, whose file init is run
// as its first process.
func pack(args []string) error {
	if len(args) != 2 {
		return fmt.Errorf("usage: guest FOLDER INITRAMFS")
	}
	file, err := os.Create(args[1])
	if err != nil {
		return err
	}
	defer file.Close()
	out := bufio.NewWriterSize(file, 1<<20)
	if err := writeArchive(out, os.DirFS(args[0])); err != nil {
		return fmt.Errorf("packing %s: %w", args[0], err)
	}
	if err := out.Flush(); err != nil {
		return err
	}
	return file.Close()
}
