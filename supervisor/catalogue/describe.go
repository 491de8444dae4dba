package catalogue

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	"penstock/rpc"
)

const (
	// describeTime bounds how long a binary may take to describe itself.
	describeTime = 20 * time.Second
	// describeBytes bounds what it may say. The largest of our own says 1.6 MB.
	describeBytes = 32 << 20
	// complaintBytes is how much is kept of what it prints beside that.
	complaintBytes = 512
)

// ask has a binary describe itself.
func ask(ctx context.Context, path string) (*rpc.Description, []byte, error) {
	ctx, cancel := context.WithTimeout(ctx, describeTime)
	defer cancel()
	said := &bounded{most: describeBytes}
	complaint := &bounded{most: complaintBytes, drop: true}
	cmd := exec.CommandContext(ctx, path, rpc.DescribeFlag)
	// What the server keeps in its variables is none of the binary's business, and
	// who finishes in a moment need not collect garbage.
	cmd.Env = []string{"GOGC=" + rpc.StartGOGC, "PATH=" + os.Getenv("PATH")}
	cmd.Stdout, cmd.Stderr = said, complaint
	// What it has started ends with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	// A child that it leaves behind has the pipe still.
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	if cmd.Process != nil {
		// Its number is free by now, and the kernel gives it to nobody else so soon.
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	}
	switch {
	case ctx.Err() != nil && errors.Is(ctx.Err(), context.DeadlineExceeded):
		return nil, nil, fmt.Errorf("it did not describe itself within %s", describeTime)
	case ctx.Err() != nil:
		return nil, nil, ctx.Err()
	case said.over:
		return nil, nil, fmt.Errorf("what it says of itself is more than %d MiB", describeBytes>>20)
	case err != nil:
		return nil, nil, fmt.Errorf("%s %s failed: %w%s", path, rpc.DescribeFlag, err, complaint.asReason())
	}
	description, err := read(said.text.Bytes())
	return description, said.text.Bytes(), err
}

// read reads a description, and makes sure that it is one.
func read(text []byte) (*rpc.Description, error) {
	var out rpc.Description
	if err := json.Unmarshal(text, &out); err != nil {
		return nil, fmt.Errorf("what it says of itself cannot be read: %w", err)
	}
	if _, ok := rpc.ClientPlugins()[out.Protocol]; !ok {
		return nil, fmt.Errorf("it speaks version %d of the protocol, and this server version %d: build both of the same version", out.Protocol, rpc.ProtocolVersion)
	}
	if len(out.Components) == 0 {
		return nil, errors.New("it says that it has no components")
	}
	for _, c := range out.Components {
		if c.Name == "" || !slices.Contains(rpc.ComponentTypes(), c.Type) {
			return nil, fmt.Errorf("it says that it has a component %q of the type %q, which there is not", c.Name, c.Type)
		}
	}
	return &out, nil
}

// bounded keeps the beginning of what is written. What does not fit is an error,
// which ends the writer, or with drop nothing.
type bounded struct {
	text bytes.Buffer
	most int
	drop bool
	over bool
}

var errTooMuch = errors.New("too much")

// Write fails once there is more than fits, but for one that drops it.
func (b *bounded) Write(p []byte) (int, error) {
	if fits := b.most - b.text.Len(); len(p) > fits {
		b.text.Write(p[:fits])
		b.over = true
		if b.drop {
			return len(p), nil
		}
		return fits, errTooMuch
	}
	return b.text.Write(p)
}

// asReason is what was printed in one line, to follow an error; empty for nothing.
func (b *bounded) asReason() string {
	text := strings.Join(strings.FieldsFunc(b.text.String(), func(r rune) bool { return r == '\n' || r == '\r' }), "; ")
	if text == "" {
		return ""
	}
	return ": it printed: " + text
}
