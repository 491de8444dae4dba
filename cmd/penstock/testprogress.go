package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"penstock/supervisor/document"
)

// errSlow ends the tests when one file's take too long.
var errSlow = errors.New("tests take too long")

// testProgress passes on what the engine prints of tests, and ends them when too
// long no file is finished: a mapping may never end, and the engine waits for it.
type testProgress struct {
	to     io.Writer
	colors palette
	// timeout is for each file, and timer what is left of it.
	timeout time.Duration
	timer   *time.Timer
	// done are the files that are finished, and line the last one, which may go on.
	done []string
	line []byte
}

// follow returns a context that ends with errSlow. A timeout of 0 is no bound.
func (p *testProgress) follow(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	if p.timeout > 0 {
		p.timer = time.AfterFunc(p.timeout, func() { cancel(errSlow) })
	}
	return ctx, func() {
		if p.timer != nil {
			p.timer.Stop()
		}
		cancel(nil)
	}
}

// finished is what the engine prints when the tests of a file are.
var finished = regexp.MustCompile(`^Test '(.*)' (succeeded|failed)\n$`)

// Write implements io.Writer. The engine does not know of the terminal, so its
// verdicts are coloured here.
func (p *testProgress) Write(text []byte) (int, error) {
	p.line = append(p.line, text...)
	for {
		end := bytes.IndexByte(p.line, '\n') + 1
		if end == 0 {
			return len(text), nil
		}
		line := string(p.line[:end])
		p.line = p.line[end:]
		if m := finished.FindStringSubmatch(line); m != nil {
			p.done = append(p.done, m[1])
			if p.timer != nil {
				p.timer.Reset(p.timeout)
			}
			paint := p.colors.green
			if m[2] == "failed" {
				paint = p.colors.red
			}
			line = fmt.Sprintf("Test '%s' %s\n", m[1], paint(m[2]))
		}
		if _, err := io.WriteString(p.to, line); err != nil {
			return 0, err
		}
	}
}

// flush passes on what has no end of a line.
func (p *testProgress) flush() {
	_, _ = p.to.Write(p.line) // As far as it goes: the command is over.
	p.line = nil
}

// slow says which of the files was not finished, and its tests. The engine takes
// files in the order of their paths.
func (p *testProgress) slow(files []string) error {
	var configs []string
	for _, path := range files {
		ext := filepath.Ext(path)
		if strings.HasSuffix(strings.TrimSuffix(path, ext), testSuffix) {
			path = testPartner(path)
		}
		configs = append(configs, filepath.Clean(path))
	}
	slices.Sort(configs)
	for _, path := range slices.Compact(configs) {
		if slices.Contains(p.done, path) {
			continue
		}
		names := testNames(testPartner(path))
		if names == nil {
			names = testNames(path)
		}
		if len(names) > 0 {
			return fmt.Errorf("%s: its tests (%s) took longer than %s: look for mappings that never end, or give them longer with --timeout",
				path, strings.Join(names, ", "), p.timeout)
		}
	}
	return fmt.Errorf("no tests were finished for %s: look for mappings that never end, or give them longer with --timeout", p.timeout)
}

// testNames are those of the tests in a file; nil when it cannot be read.
func testNames(path string) []string {
	text, err := readRegular(path)
	if err != nil {
		return nil
	}
	doc, err := document.Parse(text)
	if err != nil {
		return nil
	}
	file, _ := doc.Value().(map[string]any)
	tests, _ := file["tests"].([]any)
	names := []string{}
	for _, test := range tests {
		of, _ := test.(map[string]any)
		name, named := of["name"].(string)
		if !named {
			name = "one without a name"
		}
		names = append(names, name)
	}
	return names
}
