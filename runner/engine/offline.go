package engine

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/redpanda-data/benthos/v4/public/service"

	"penstock/rpc"
)

// runtimeKey is the block of a stream's file that is the supervisor's.
const runtimeKey = "runtime"

// CommandLine is the engine's own command line, given a verb, flags and files. It
// returns its exit code. A file may have a runtime block.
func CommandLine(args ...string) int {
	code, err := service.RunCLIToCode(context.Background(),
		service.CLIOptSetArgs(append([]string{"penstock-runner"}, args...)...),
		service.CLIOptSetMainSchemaFrom(func() *service.ConfigSchema {
			return service.GlobalEnvironment().FullConfigSchema("", "").Field(service.NewAnyField(runtimeKey).Optional())
		}),
	)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	return code
}

// LintVerb is CommandLine for the lint verb, with what it writes to its standard
// error. Since the engine has no other place for that, nothing else of the process
// may write there meanwhile.
func LintVerb(args ...string) (text string, code int, err error) {
	out, in, err := os.Pipe()
	if err != nil {
		return "", 0, fmt.Errorf("making a pipe for the engine's lints: %w", err)
	}
	read := make(chan []byte)
	go func() {
		all, _ := io.ReadAll(out) // A pipe of the process's own does not fail.
		read <- all
	}()
	stderr := os.Stderr
	os.Stderr = in
	code = CommandLine(append([]string{"lint"}, args...)...)
	os.Stderr = stderr
	_ = in.Close()
	text = string(<-read)
	_ = out.Close()
	return text, code, nil
}

// LintFlags are flags of the engine's lint verb, as far as they matter to a stream.
type LintFlags struct{ Deprecated, Labels, SkipEnvironment bool }

// LintStream lints the config of a stream's file as Prepare does. An error says
// why it has no lints.
func LintStream(config []byte, flags LintFlags, lookup func(name string) (string, bool)) ([]rpc.Lint, error) {
	schema := service.GlobalEnvironment().CoreConfigSchema("", "").Field(service.NewAnyListField("tests").Optional())
	lints, err := schema.NewStreamConfigLinter().
		SetRejectDeprecated(flags.Deprecated).SetRequireLabels(flags.Labels).SetSkipEnvVarCheck(flags.SkipEnvironment).
		SetEnvVarLookupFunc(func(_ context.Context, name string) (string, bool) { return lookup(name) }).
		LintYAML(config)
	if err != nil {
		return nil, err
	}
	out := make([]rpc.Lint, 0, len(lints))
	for _, found := range lints {
		out = append(out, rpc.Lint{Line: found.Line, Column: max(found.Column, 1), Message: found.What})
	}
	return out, nil
}
