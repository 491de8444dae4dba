package runner

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"slices"
	"strconv"

	"penstock/rpc"
	"penstock/runner/engine"
	"penstock/runner/lone"
)

// engineVerbs are those of the engine's command line that run no stream.
var engineVerbs = []string{"test", "template"}

// offline is what the process is when its arguments ask for something that needs
// no supervisor; it returns its exit code then.
func offline(args []string) (code int, is bool) {
	if len(args) < 2 || args[0] != rpc.LintFlag && args[0] != rpc.EngineFlag {
		return 0, false
	}
	lone.End()
	memory, err := strconv.ParseInt(args[1], 10, 64)
	switch {
	case err != nil || memory < 0:
		err = fmt.Errorf("%s %q: it must be how much memory the process may take, in bytes", args[0], args[1])
	case args[0] == rpc.EngineFlag && (len(args) < 3 || !slices.Contains(engineVerbs, args[2])):
		err = fmt.Errorf("%s is for the verbs %v", args[0], engineVerbs)
	case memory > 0:
		// The collector is to do what it can before the kernel says no.
		debug.SetMemoryLimit(memory - memory/4)
		err = limitMemory(memory)
	}
	if err == nil && args[0] == rpc.EngineFlag {
		return engine.CommandLine(args[2:]...), true
	}
	if err == nil {
		err = answerLints(os.Stdin, os.Stdout, args[2:])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "penstock-runner:", err)
		return 1, true
	}
	return 0, true
}

// answerLints answers LintRequests until there are none any more.
func answerLints(from io.Reader, to io.Writer, flags []string) error {
	// What the engine has to say goes nowhere else.
	os.Stdout = os.Stderr
	requests := make(chan rpc.LintRequest)
	go func() {
		in := json.NewDecoder(from)
		for {
			var req rpc.LintRequest
			if err := in.Decode(&req); err != nil {
				// Nobody waits for what is being linted. It may never end.
				if errors.Is(err, io.EOF) {
					os.Exit(0)
				}
				fmt.Fprintln(os.Stderr, "penstock-runner: reading a request:", err)
				os.Exit(1)
			}
			requests <- req
		}
	}()
	out := json.NewEncoder(to)
	answer, err := lintVerb(flags, "")
	for err == nil {
		if err = out.Encode(answer); err != nil {
			return fmt.Errorf("answering a request: %w", err)
		}
		answer, err = lintOne(<-requests)
	}
	return err
}

// lintOne answers one request.
func lintOne(req rpc.LintRequest) (rpc.LintAnswer, error) {
	if req.Policy != nil {
		lints, err := engine.CheckTemplates(req.Templates, *req.Policy)
		answer := rpc.LintAnswer{Lints: lints}
		if err != nil {
			answer.Fault = err.Error()
		}
		return answer, nil
	}
	undo, err := setVariables(req.Environment)
	if err != nil {
		return rpc.LintAnswer{}, err
	}
	defer undo()
	answer, err := lintVerb(req.Flags, req.File)
	if err != nil || len(req.Config) == 0 {
		return answer, err
	}
	answer.Lints, err = engine.LintStream(req.Config, engine.LintFlags{
		Deprecated:      slices.Contains(req.Flags, "--deprecated"),
		Labels:          slices.Contains(req.Flags, "--labels"),
		SkipEnvironment: slices.Contains(req.Flags, "--skip-env-var-check"),
	}, os.LookupEnv)
	if err != nil {
		answer.Fault = err.Error()
	}
	return answer, nil
}

// lintVerb has the engine's own verb lint a file, if there is one.
func lintVerb(flags []string, file string) (rpc.LintAnswer, error) {
	args := slices.Clone(flags)
	if file != "" {
		args = append(args, "--", literal(file))
	}
	text, code, err := engine.LintVerb(args...)
	return rpc.LintAnswer{Failed: code != 0, Text: text}, err
}

// literal is the glob that matches the path alone.
func literal(path string) string {
	var out []byte
	for i := range len(path) {
		switch path[i] {
		case '*', '?', '[', '\\':
			out = append(out, '\\')
		}
		out = append(out, path[i])
	}
	return string(out)
}

// setVariables sets variables of the process; undo makes them what they were.
func setVariables(variables map[string]string) (undo func(), err error) {
	var undos []func()
	undo = func() {
		for _, f := range undos {
			f()
		}
	}
	for name, value := range variables {
		before, was := os.LookupEnv(name)
		if err := os.Setenv(name, value); err != nil {
			undo()
			return nil, fmt.Errorf("setting environment variable %q: %w", name, err)
		}
		undos = append(undos, func() {
			// A name that could be set can be set again.
			if was {
				_ = os.Setenv(name, before)
			} else {
				_ = os.Unsetenv(name)
			}
		})
	}
	return undo, nil
}
