package supervisor

import (
	"context"
	"errors"
	"io"

	"penstock/supervisor/document"
	"penstock/supervisor/offline"
	"penstock/supervisor/options"
)

// DefaultEngineMemory is what most tests need a tenth of.
const DefaultEngineMemory options.Bytes = 2 << 30

// EngineVerb is a verb of the engine's own command line that runs no stream.
type EngineVerb struct {
	// Runner is the path of the runner's binary; empty is the one beside the
	// executable.
	Runner string
	// Memory is how much the process may take; 0 is no bound.
	Memory options.Bytes
	// Args are the verb, its flags and files.
	Args []string
	// Files are configs, unit tests and templates whose components the runner has to
	// have, and Templates globs of templates that they use. What cannot be read is the
	// verb's to tell.
	Files, Templates []string
}

// RunEngineVerb runs the verb in a process of its own, with the smallest runner that
// has what all the files name, and returns its exit code.
func RunEngineVerb(ctx context.Context, v EngineVerb, stdout, stderr io.Writer) (int, error) {
	runner, err := runnerPath(v.Runner)
	if err != nil {
		return 1, err
	}
	if len(v.Files) > 0 {
		if runner, err = v.runner(ctx, runner); err != nil {
			return 1, err
		}
	}
	return offline.Engine(ctx, runner, int64(v.Memory), stdout, stderr, v.Args...)
}

// runner is the core runner where there is none that has it all: the verb names
// what that does not have.
func (v EngineVerb) runner(ctx context.Context, core string) (string, error) {
	var docs []*document.Document
	for _, path := range v.Files {
		text, err := readFile(path)
		if err != nil || !isYAML(path) {
			continue
		}
		if doc, err := document.Parse(text); err == nil {
			docs = append(docs, doc)
		}
	}
	runners, err := newFileRunners(core, v.Templates)
	if err != nil {
		return "", err
	}
	defer runners.close()
	runner, err := runners.choose(ctx, "", docs...)
	if errors.Is(err, ErrInvalid) {
		return core, nil
	}
	return runner, err
}
