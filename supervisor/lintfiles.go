package supervisor

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"penstock/rpc"
	"penstock/supervisor/document"
	"penstock/supervisor/offline"
	"penstock/supervisor/options"
)

// LintOptions say how LintFiles lints.
type LintOptions struct {
	// Runner is the path of the runner's binary; empty is the one beside the
	// executable.
	Runner string
	// Templates and EnvFiles are globs, as the engine expands them.
	Templates, EnvFiles []string
	// Deprecated finds deprecated fields too, and Labels components without a
	// label. SkipEnvironment passes variables over that are not set.
	Deprecated, Labels, SkipEnvironment bool
	// EngineOnly leaves out what a supervisor has to say.
	EngineOnly bool
	// Memory is how much one linting process may take, 0 for no bound, and Timeout
	// how long one file may take, at least 1 ms.
	Memory  options.Bytes
	Timeout time.Duration
	// Concurrency is how many processes lint. At least 1.
	Concurrency int
}

// DefaultLintOptions lint with the runner beside the executable and as much as
// most files need a tenth of: 1 GiB and, as serve has it, 15 s.
func DefaultLintOptions() LintOptions {
	return LintOptions{Memory: 1 << 30, Timeout: DefaultConfig().Timeouts.Prepare, Concurrency: runtime.NumCPU()}
}

// LintFile is a file to lint.
type LintFile struct {
	Path string
	// ID is of the stream that it would define; empty when it is none's.
	ID string
}

// LintResult is what is wrong with a file.
type LintResult struct {
	Path string
	// Lints name the file, line and column, each in one line or more.
	Lints []string
}

// LintFiles lints files in processes of their own, as the engine's own verb does,
// and the streams' among them as a supervisor would that is given them. The
// results are in the order of the files. The error is about none of them.
func LintFiles(ctx context.Context, o LintOptions, files []LintFile) ([]LintResult, error) {
	var err error
	if o.Runner, err = runnerPath(o.Runner); err != nil {
		return nil, err
	}
	runners, err := newFileRunners(o.Runner, o.Templates)
	if err != nil {
		return nil, err
	}
	defer runners.close()
	results := make([]LintResult, len(files))
	next := make(chan int)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		defer close(next)
		for i := range files {
			select {
			case next <- i:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
	for range max(1, min(o.Concurrency, (len(files)+filesEach-1)/filesEach)) {
		group.Go(func() error {
			l := &fileLinter{options: o, runners: runners, byRunner: map[string]*offline.Linter{}}
			defer l.close()
			// The templates are in order though there be nothing to lint.
			if err := l.of(o.Runner).Start(ctx); err != nil {
				return err
			}
			for i := range next {
				var err error
				if results[i], err = l.lint(ctx, files[i]); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return results, nil
}

// runnerPath is the runner's binary: the one that is named, or the one beside the
// executable.
func runnerPath(named string) (string, error) {
	if named != "" {
		return named, nil
	}
	return besideMyself("penstock-runner")
}

// filesEach is how many files are worth the start of another process.
const filesEach = 8

// fileLinter lints one file after the other.
type fileLinter struct {
	options  LintOptions
	runners  *fileRunners
	byRunner map[string]*offline.Linter
}

// of is the linter with a runner's components.
func (l *fileLinter) of(runner string) *offline.Linter {
	if l.byRunner[runner] == nil {
		var flags []string
		for _, glob := range l.options.Templates {
			flags = append(flags, "-t", glob)
		}
		for _, glob := range l.options.EnvFiles {
			flags = append(flags, "-e", glob)
		}
		l.byRunner[runner] = offline.NewLinter(offline.Options{
			Binary: runner, Flags: flags, Memory: int64(l.options.Memory), Timeout: l.options.Timeout,
		})
	}
	return l.byRunner[runner]
}

func (l *fileLinter) close() {
	for _, linter := range l.byRunner {
		linter.Close()
	}
}

// runnerFor is the runner that has the components of a file. What is refused for
// want of one has the core runner, which names what it does not have.
func (l *fileLinter) runnerFor(ctx context.Context, c *fileCheck) (string, error) {
	if c.doc == nil {
		return l.options.Runner, nil
	}
	runner, err := l.runners.choose(ctx, c.wanted, c.doc)
	if errors.Is(err, ErrInvalid) {
		if !l.options.EngineOnly {
			c.lints = append(c.lints, at(c.path, err))
		}
		return l.options.Runner, nil
	}
	return runner, err
}

func (l *fileLinter) lint(ctx context.Context, file LintFile) (LintResult, error) {
	out := LintResult{Path: file.Path}
	req := rpc.LintRequest{File: file.Path}
	for flag, set := range map[string]bool{
		"--deprecated": l.options.Deprecated, "--labels": l.options.Labels, "--skip-env-var-check": l.options.SkipEnvironment,
	} {
		if set {
			req.Flags = append(req.Flags, flag)
		}
	}
	own := checkFile(file)
	if l.options.EngineOnly {
		own = fileCheck{path: file.Path, doc: own.doc, wanted: own.wanted}
	}
	if own.engine != nil {
		req.Config, req.Environment = own.engine.Text(), own.environment
	}
	runner, err := l.runnerFor(ctx, &own)
	if err != nil {
		return out, err
	}
	answer, err := l.of(runner).Ask(ctx, req)
	if errors.Is(err, offline.ErrDied) && ctx.Err() == nil {
		if own.unreadable != "" {
			out.Lints = append(out.Lints, own.unreadable)
		}
		out.Lints = append(append(out.Lints, own.lints...), fmt.Sprintf("%s(1,1) %s", file.Path, err))
		return out, nil
	}
	if err != nil {
		return out, err
	}
	out.Lints = own.merge(answer)
	return out, nil
}

// fileCheck is what there is to say of a file without an engine.
type fileCheck struct {
	path string
	// unreadable is why the file is no document.
	unreadable string
	lints      []string
	doc        *document.Document
	// engine is what a runner would be given; nil when the file is no stream's.
	engine      *document.Document
	environment map[string]string
	// wanted is the runner that it asks for.
	wanted string
}

// streamKeys are those of which a stream's config has one at least.
var streamKeys = []string{"input", "buffer", "pipeline", "output", optionsKey}

// checkFile looks at a file as a supervisor does before it asks a runner.
func checkFile(file LintFile) fileCheck {
	c := fileCheck{path: file.Path}
	if !isYAML(file.Path) {
		return c
	}
	text, err := readFile(file.Path)
	if err != nil {
		return c // The engine says so.
	}
	doc, err := document.Parse(text)
	if err != nil {
		c.unreadable = at(file.Path, err)
		return c
	}
	c.doc = doc
	config, _ := doc.Value().(map[string]any)
	if file.ID == "" || !slices.ContainsFunc(streamKeys, func(key string) bool { _, is := config[key]; return is }) {
		return c
	}
	if err := checkID(file.ID); err != nil {
		c.lints = append(c.lints, fmt.Sprintf("%s(1,1) %s", file.Path, err))
	}
	sp, err := newSpec(doc, false, true, options.Allowed{})
	var lint *LintError
	switch {
	case errors.As(err, &lint):
		for _, found := range lint.Lints {
			c.lints = append(c.lints, file.Path+found)
		}
		// What is left of the file is linted all the same.
		c.engine, _, _ = doc.Split(optionsKey)
	case err != nil:
		c.lints = append(c.lints, at(file.Path, err))
	default:
		c.engine, c.environment, c.wanted = sp.engine, sp.options.Env, sp.options.Runner
	}
	return c
}

func isYAML(path string) bool {
	return slices.Contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(path))
}

// at is an error as a lint.
func at(path string, err error) string {
	var fault *document.Error
	if errors.As(err, &fault) {
		return fmt.Sprintf("%s(%d,%d) %s", path, max(fault.Line, 1), max(fault.Column, 1), fault.Msg)
	}
	return fmt.Sprintf("%s(1,1) %s", path, err)
}

// said is how the engine's verb writes where a lint is, and the lint's text.
var said = regexp.MustCompile(`^\((\d+),\d+\) (.*)$`)

// merge puts what a runner says of a file before what has been said already.
func (c *fileCheck) merge(answer rpc.LintAnswer) []string {
	var out []string
	known := map[string]bool{}
	for line := range strings.Lines(answer.Text) {
		line = strings.TrimRight(line, "\n")
		if rest, is := strings.CutPrefix(line, c.path); is && said.MatchString(rest) {
			m := said.FindStringSubmatch(rest)
			known[m[1]+" "+m[2]] = true
			out = append(out, line)
		} else if len(out) > 0 {
			out[len(out)-1] += "\n" + line
		} else {
			out = append(out, line)
		}
	}
	// What is no YAML the engine finds as well, and says so in its own words.
	if c.unreadable != "" && (len(out) == 0 || !strings.Contains(c.unreadable, ") yaml: ")) {
		out = append(out, c.unreadable)
	}
	for _, l := range answer.Lints {
		if c.engine != nil {
			l.Line, l.Column = c.engine.Position(l.Line, l.Column)
		}
		key := fmt.Sprintf("%d %s", l.Line, l.Message)
		if !known[key] {
			known[key] = true
			out = append(out, c.path+l.String())
		}
	}
	if answer.Fault != "" && len(out) == 0 {
		out = append(out, fmt.Sprintf("%s(1,1) %s", c.path, answer.Fault))
	}
	return append(out, c.lints...)
}
