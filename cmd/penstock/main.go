package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
)

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// run executes one command line and returns the exit code: 0, or 1 after an
// error, which it tells in one line on stderr.
func run(args []string, stdout, stderr io.Writer) int {
	root := newRootCommand()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	if err := root.Execute(); errors.Is(err, errTold) {
		return 1
	} else if err != nil {
		_, _ = fmt.Fprintln(stderr, "penstock:", strings.ReplaceAll(err.Error(), "\n", "; "))
		return 1
	}
	return 0
}

// errTold ends a command that has told already what is wrong.
var errTold = errors.New("what is wrong has been told")

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "penstock",
		Short: "Run Benthos streams, each in a process of its own",
		// Errors are told by run, and a failing server has no use for usage.
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return fmt.Errorf("%w: see %s --help", err, cmd.CommandPath())
	})
	root.AddCommand(newServeCommand(), newLintCommand(), newTestCommand(), newTemplateCommand(), newStatusCommand(), newUpgradeCommand(), newHealthcheckCommand(), newVersionCommand())
	return root
}
