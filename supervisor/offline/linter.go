package offline

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"

	"penstock/rpc"
)

// Options say how files are linted.
type Options struct {
	// Binary is the path of the runner.
	Binary string
	// Flags are the engine's flags for all files: templates and variables.
	Flags []string
	// Memory is how many bytes a process may take; 0 is no bound.
	Memory int64
	// Timeout bounds one request, the first one with the start of the process. At
	// least 1 ms.
	Timeout time.Duration
}

// ErrDied is wrapped when the process has died of a request, or had to be killed.
var ErrDied = errors.New("it cannot be linted")

// Linter asks one process, and another one once that has died. It is used by one
// goroutine at a time.
type Linter struct {
	options Options
	process *process
}

// NewLinter makes a linter. Its process is started by the first request.
func NewLinter(options Options) *Linter { return &Linter{options: options} }

// Ask has one request answered. An error that wraps ErrDied is about the request;
// any other one is about all.
func (l *Linter) Ask(ctx context.Context, req rpc.LintRequest) (rpc.LintAnswer, error) {
	if err := l.Start(ctx); err != nil {
		return rpc.LintAnswer{}, err
	}
	answer, err := l.process.ask(ctx, l.options.Timeout, &req)
	if err != nil {
		l.Close()
		return answer, fmt.Errorf("%w: %w", ErrDied, err)
	}
	return answer, nil
}

// Start starts the process, unless it runs. The error says too what is wrong with
// the flags.
func (l *Linter) Start(ctx context.Context) error {
	if l.process != nil {
		return nil
	}
	p, err := start(l.options)
	if err != nil {
		return err
	}
	answer, err := p.ask(ctx, l.options.Timeout, nil)
	switch {
	case err != nil:
		p.end()
		return fmt.Errorf("the runner %s cannot lint: %w", l.options.Binary, err)
	case answer.Failed:
		p.end()
		return &FlagsError{Text: answer.Text}
	}
	l.process = p
	return nil
}

// Close ends the process.
func (l *Linter) Close() {
	if l.process != nil {
		l.process.end()
		l.process = nil
	}
}

// FlagsError is what the engine says of the flags for all files.
type FlagsError struct{ Text string }

// Error is the engine's text, in lines of its own.
func (e *FlagsError) Error() string { return strings.TrimSpace(e.Text) }

// process is a runner that answers requests.
type process struct {
	cmd     *exec.Cmd
	in      io.WriteCloser
	answers chan rpc.LintAnswer
	said    said
	endOnce sync.Once
}

func start(o Options) (*process, error) {
	args := append([]string{rpc.LintFlag, strconv.FormatInt(o.Memory, 10)}, o.Flags...)
	p := &process{cmd: exec.Command(o.Binary, args...), answers: make(chan rpc.LintAnswer)}
	p.cmd.Stderr = &p.said
	in, err := p.cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("making a pipe to a runner: %w", err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("making a pipe from a runner: %w", err)
	}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("runner binary %s cannot be executed: %w: build it with `make build` or name it with --runner", o.Binary, err)
	}
	p.in = in
	go func() {
		defer close(p.answers)
		lines := json.NewDecoder(bufio.NewReader(out))
		for {
			var answer rpc.LintAnswer
			if lines.Decode(&answer) != nil {
				return
			}
			p.answers <- answer
		}
	}()
	return p, nil
}

// ask sends a request, if there is one, and waits for the answer. After an error
// the process is of no use any more.
func (p *process) ask(ctx context.Context, timeout time.Duration, req *rpc.LintRequest) (rpc.LintAnswer, error) {
	over := time.NewTimer(timeout)
	defer over.Stop()
	if req != nil {
		text, err := json.Marshal(req)
		if err != nil {
			return rpc.LintAnswer{}, fmt.Errorf("encoding a request: %w", err)
		}
		// That it cannot be sent shows in the answer that does not come.
		_, _ = p.in.Write(append(text, '\n'))
	}
	select {
	case answer, ok := <-p.answers:
		if !ok {
			return answer, p.death()
		}
		return answer, nil
	case <-over.C:
		return rpc.LintAnswer{}, fmt.Errorf("it took longer than %s: look for mappings that compute constants at length", timeout)
	case <-ctx.Done():
		return rpc.LintAnswer{}, ctx.Err()
	}
}

// death says how the process has died.
func (p *process) death() error {
	err := p.cmd.Wait()
	how := "it ended"
	if err != nil {
		how = "it ended with " + err.Error()
	}
	if why := p.said.cause(); why != "" {
		return fmt.Errorf("%s: %s", how, why)
	}
	return errors.New(how)
}

// end kills the process: it has nothing to lose.
func (p *process) end() {
	p.endOnce.Do(func() {
		_ = p.cmd.Process.Kill()
		for range p.answers { // Until the process's end has closed it.
		}
		_ = p.in.Close()
		_ = p.cmd.Wait() // It fails where death has waited.
	})
}

// said keeps what a process has said first, which is what it died of: what Go
// prints after that are stacks.
type said struct {
	mu   sync.Mutex
	text []byte
}

// saidBytes bounds what is kept.
const saidBytes = 64 << 10

// Write implements io.Writer.
func (t *said) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p[:min(len(p), saidBytes-len(t.text))]...)
	return len(p), nil
}

// cause is the line that says why the process died, or the first one.
func (t *said) cause() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	first := ""
	for line := range bytes.Lines(t.text) {
		text := strings.TrimSpace(string(line))
		for _, start := range []string{"fatal error: ", "panic: ", "penstock-runner: "} {
			if strings.HasPrefix(text, start) {
				return text
			}
		}
		if first == "" {
			first = text
		}
	}
	return first
}

// Engine runs a verb of the engine's own command line in a process that may take so
// much memory, in bytes, 0 for no bound, and returns its exit code. It is
// an error when it was killed.
func Engine(ctx context.Context, binary string, memory int64, stdout, stderr io.Writer, args ...string) (int, error) {
	cmd := exec.CommandContext(ctx, binary, append([]string{rpc.EngineFlag, strconv.FormatInt(memory, 10)}, args...)...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, stdout, stderr
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0, nil
	case !errors.As(err, &exit):
		return 1, fmt.Errorf("runner binary %s cannot be executed: %w: build it with `make build` or name it with --runner", binary, err)
	case exit.ExitCode() < 0:
		return 1, fmt.Errorf("the runner %s: %w", binary, exit)
	}
	return exit.ExitCode(), nil
}
