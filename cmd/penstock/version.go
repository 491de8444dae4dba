package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// version and built are set by the linker (-X main.version=…); a plain `go
// build` leaves them to what the Go tool recorded.
var (
	version string
	built   string
)

// buildInfo returns what to tell of this binary: its version and the date of
// its build, or of the commit it was built from.
func buildInfo() (ver, date string) {
	ver, date = version, built
	if info, ok := debug.ReadBuildInfo(); ok {
		if ver == "" {
			ver = info.Main.Version
		}
		for _, setting := range info.Settings {
			if setting.Key == "vcs.time" && date == "" {
				date = setting.Value
			}
		}
	}
	if ver == "" {
		ver = "(devel)"
	}
	if date == "" {
		date = "unknown"
	}
	return ver, date
}

func newVersionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ver, date := buildInfo()
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "penstock %s, built %s, %s %s/%s\n",
				ver, date, runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return err
		},
	}
}
