package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"penstock/supervisor"
)

func newLintCommand() *cobra.Command {
	o := supervisor.DefaultLintOptions()
	var resources []string
	var verbose bool
	cmd := &cobra.Command{
		Use:   "lint [FILE|FOLDER|GLOB|FOLDER/...]...",
		Short: "Find what is wrong with config files",
		Long: "Says of each file, with line and column, what upstream's lint says of it, and of\n" +
			"a stream's what this server would refuse. Exits with 1 if there is anything.",
		Example: "  penstock lint ./configs/...\n  penstock lint -t 'templates/*.yaml' a.yaml b.yaml",
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Templates = splitCommas(o.Templates)
			return lint(cmd.Context(), o, append(args, splitCommas(resources)...), verbose, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&o.Deprecated, "deprecated", false, "find deprecated fields, too")
	flags.BoolVar(&o.Labels, "labels", false, "find components without a label, too")
	flags.BoolVar(&o.SkipEnvironment, "skip-env-var-check", false, "pass over variables that are not set and have no default")
	flags.BoolVar(&verbose, "verbose", false, "print a line for each file")
	flags.StringArrayVarP(&resources, "resources", "r", nil, "lint resource files, too (`GLOB`, repeatable)")
	flags.StringArrayVarP(&o.EnvFiles, "env-file", "e", nil, "take variables from dotenv files (`GLOB`, repeatable)")
	flags.StringArrayVarP(&o.Templates, "templates", "t", nil, "load template files (`GLOB`, repeatable)")
	flags.BoolVar(&o.EngineOnly, "upstream", false, "say what upstream's lint says and nothing else")
	flags.StringVar(&o.Runner, "runner", "", "`PATH` of penstock-runner (default beside this binary)")
	flags.TextVar(&o.Memory, "memory", o.Memory, "the most memory that a file may take to be linted (`SIZE`); 0 is no bound")
	flags.DurationVar(&o.Timeout, "timeout", o.Timeout, "the longest that a file may take to be linted")
	return cmd
}

func lint(ctx context.Context, o supervisor.LintOptions, args []string, verbose bool, stdout, stderr io.Writer) error {
	if err := positive(o.Timeout); err != nil {
		return err
	}
	files, err := findLintFiles(args)
	if err != nil {
		return err
	}
	results, err := supervisor.LintFiles(ctx, o, files)
	if err != nil {
		return err
	}
	color := colors(stdout)
	found := false
	for _, r := range results {
		found = found || len(r.Lints) > 0
		switch {
		case !verbose:
		case len(r.Lints) > 0:
			fmt.Fprintf(stdout, "%s: %s\n", r.Path, color.red("FAILED"))
		default:
			fmt.Fprintf(stdout, "%s: %s\n", r.Path, color.green("OK"))
		}
	}
	for _, r := range results {
		for _, text := range r.Lints {
			fmt.Fprintln(stderr, color.yellow(text))
		}
	}
	if found {
		return errTold
	}
	return nil
}
