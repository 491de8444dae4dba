package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"penstock/supervisor"
)

func newTestCommand() *cobra.Command {
	var t supervisor.EngineVerb
	var log string
	var verbose bool
	var timeout time.Duration
	var resources, envFiles, templates []string
	cmd := &cobra.Command{
		Use:   "test [FILE|FOLDER|GLOB|FOLDER/...]...",
		Short: "Run the unit tests of config files",
		Long: "Runs the tests that config files have in their section tests, or in the file\n" +
			"NAME_benthos_test.yaml beside NAME.yaml, in upstream's format. Exits with 1 if\n" +
			"one fails, if a file has lint errors, or if there is no test.",
		Example: "  penstock test ./configs/...\n  penstock test -r 'resources/*.yaml' a.yaml",
		RunE: func(cmd *cobra.Command, args []string) error {
			t.Args = []string{"test"}
			if log != "" {
				t.Args = append(t.Args, "--log", log)
			}
			if verbose {
				t.Args = append(t.Args, "--verbose")
			}
			t.Args = repeat(repeat(repeat(t.Args, "-r", resources), "-e", envFiles), "-t", templates)
			t.Templates = splitCommas(templates)
			t.Files = filesOf(append(slices.Clone(args), splitCommas(resources)...))
			for _, path := range t.Files {
				t.Files = append(t.Files, testPartner(path))
			}
			if timeout < 0 {
				return fmt.Errorf("--timeout is %s: it must be 0, for no bound, or longer", timeout)
			}
			progress := &testProgress{to: cmd.OutOrStdout(), colors: colors(cmd.OutOrStdout()), timeout: timeout}
			ctx, end := progress.follow(cmd.Context())
			defer end()
			err := engineVerb(ctx, t, args, progress, cmd.ErrOrStderr())
			progress.flush()
			if errors.Is(context.Cause(ctx), errSlow) {
				return progress.slow(t.Files)
			}
			return err
		},
	}
	flags := cmd.Flags()
	flags.DurationVar(&timeout, "timeout", 2*time.Minute, "the longest that the tests of one file may take; 0 is no bound")
	flags.StringVar(&log, "log", "", "have components log to standard output, from this `LEVEL` on")
	flags.BoolVarP(&verbose, "verbose", "v", false, "print the names of the tests")
	flags.StringArrayVarP(&resources, "resources", "r", nil, "load resource files (`GLOB`, repeatable)")
	flags.StringArrayVarP(&envFiles, "env-file", "e", nil, "take variables from dotenv files (`GLOB`, repeatable)")
	flags.StringArrayVarP(&templates, "templates", "t", nil, "load template files (`GLOB`, repeatable)")
	engineFlags(cmd, &t)
	return cmd
}

func newTemplateCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "template",
		Short: "Work with template files",
		Args:  cobra.NoArgs,
	}
	var t supervisor.EngineVerb
	var verbose bool
	var timeout time.Duration
	var envFiles, templates []string
	lint := &cobra.Command{
		Use:     "lint [FILE|FOLDER|GLOB|FOLDER/...]...",
		Short:   "Find what is wrong with template files, and run their tests",
		Long:    "Says of each template what upstream's template lint says of it, and runs the tests\nin it. Exits with 1 if there is anything.",
		Example: "  penstock template lint './templates/*.yaml'",
		RunE: func(cmd *cobra.Command, args []string) error {
			t.Args = []string{"template", "lint"}
			if verbose {
				t.Args = append(t.Args, "--verbose")
			}
			t.Args = repeat(repeat(t.Args, "-e", envFiles), "-t", templates)
			t.Files = filesOf(args)
			t.Templates = append(slices.Clone(t.Files), splitCommas(templates)...)
			if err := positive(timeout); err != nil {
				return err
			}
			ctx, cancel := context.WithTimeoutCause(cmd.Context(), timeout, errSlow)
			defer cancel()
			err := engineVerb(ctx, t, args, cmd.OutOrStdout(), cmd.ErrOrStderr())
			if errors.Is(context.Cause(ctx), errSlow) {
				return fmt.Errorf("%s: it took longer than %s: look for mappings that never end, or give it longer with --timeout", strings.Join(args, " "), timeout)
			}
			return err
		},
	}
	flags := lint.Flags()
	flags.DurationVar(&timeout, "timeout", 2*time.Minute, "the longest that all of it may take")
	flags.BoolVar(&verbose, "verbose", false, "print a line for each file")
	flags.StringArrayVarP(&envFiles, "env-file", "e", nil, "take variables from dotenv files (`GLOB`, repeatable)")
	flags.StringArrayVarP(&templates, "templates", "t", nil, "load other templates first (`GLOB`, repeatable)")
	engineFlags(lint, &t)
	cmd.AddCommand(lint)
	return cmd
}

// filesOf are the paths of the files that the arguments name. What is wrong with
// the arguments the engine's verb says.
func filesOf(args []string) (paths []string) {
	found, err := findLintFiles(args)
	if err != nil {
		return nil
	}
	for _, file := range found {
		paths = append(paths, file.Path)
	}
	return paths
}

// testPartner is the file of the tests of a config, and the config of a file of
// tests: either stands for both. It need not exist.
func testPartner(path string) string {
	ext := filepath.Ext(path)
	name := strings.TrimSuffix(path, ext)
	if config, is := strings.CutSuffix(name, testSuffix); is {
		return config + ext
	}
	return name + testSuffix + ext
}

// engineFlags are those that say in what the engine's verb runs.
func engineFlags(cmd *cobra.Command, t *supervisor.EngineVerb) {
	t.Memory = supervisor.DefaultEngineMemory
	cmd.Flags().StringVar(&t.Runner, "runner", "", "`PATH` of penstock-runner (default beside this binary)")
	cmd.Flags().TextVar(&t.Memory, "memory", t.Memory, "the most memory that all of it may take (`SIZE`); 0 is no bound")
}

// repeat appends a flag for each of its values.
func repeat(args []string, flag string, values []string) []string {
	for _, value := range values {
		args = append(args, flag, value)
	}
	return args
}

// engineVerb runs a verb of the engine's on files, and folders.
func engineVerb(ctx context.Context, t supervisor.EngineVerb, files []string, stdout, stderr io.Writer) error {
	// A signal to the group is the child's as well, and ends it.
	ctx, release := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer release()
	t.Args = append(t.Args, "--")
	for _, file := range files {
		if info, err := os.Stat(file); err == nil && info.IsDir() {
			file += "/" + superSuffix
		}
		t.Args = append(t.Args, file)
	}
	code, err := supervisor.RunEngineVerb(ctx, t, stdout, stderr)
	if err == nil && code != 0 {
		err = errTold
	}
	return err
}
