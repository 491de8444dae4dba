package supervisor

import (
	"context"
	"io"

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
}

// RunEngineVerb runs the verb in a process of its own, and returns its exit code.
func RunEngineVerb(ctx context.Context, v EngineVerb, stdout, stderr io.Writer) (int, error) {
	runner, err := runnerPath(v.Runner)
	if err != nil {
		return 1, err
	}
	return offline.Engine(ctx, runner, int64(v.Memory), stdout, stderr, v.Args...)
}
