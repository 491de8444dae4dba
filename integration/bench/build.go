package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// bench holds what all measurements share.
type bench struct {
	opts     options
	dir      string
	progress io.Writer
}

// say tells on the progress output what is going on.
func (b *bench) say(format string, args ...any) {
	fmt.Fprintf(b.progress, "bench: "+format+"\n", args...)
}

// binary is the path of a built binary.
func (b *bench) binary(name string) string { return filepath.Join(b.dir, name) }

// The reference once more, under a name of its own: processes of one file
// share its pages, which must be counted for each kind of server apart.
const bareBinary = "reference-bare"

// build makes all binaries as they are shipped: static, without symbols.
func (b *bench) build(ctx context.Context) error {
	b.say("building")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", b.dir+string(filepath.Separator),
		"penstock/cmd/penstock", "penstock/cmd/penstock-launch", "penstock/cmd/penstock-runner", "penstock/integration/reference")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	cmd.WaitDelay = 5 * time.Second
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building the binaries: %w: %s", cmp.Or(context.Cause(ctx), err), out)
	}
	return copyFile(b.binary(bareBinary), b.binary("reference"))
}

func copyFile(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o700)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		_ = out.Close()
		return fmt.Errorf("copying %s: %w", from, err)
	}
	return out.Close()
}
