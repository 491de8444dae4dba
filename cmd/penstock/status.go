package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"penstock/supervisor"
)

// statusTimeout bounds the wait for one answer.
const statusTimeout = 10 * time.Second

func newStatusCommand() *cobra.Command {
	c := client{timeout: statusTimeout}
	cmd := &cobra.Command{
		Use:   "status [ID]...",
		Short: "Print the state of streams",
		Long:  "Prints a table of the streams of a server, or of those that are named.",
		RunE: func(cmd *cobra.Command, ids []string) error {
			return printStatus(cmd.Context(), &c, ids, cmd.OutOrStdout(), time.Now())
		},
	}
	c.register(cmd.Flags())
	return cmd
}

func printStatus(ctx context.Context, c *client, ids []string, out io.Writer, now time.Time) error {
	all := len(ids) == 0
	if all {
		var listed map[string]struct{}
		if err := c.call(ctx, http.MethodGet, "/streams", &listed); err != nil {
			return err
		}
		ids = slices.Sorted(maps.Keys(listed))
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "STREAM\tSTATE\tSINCE\tRESTARTS\tPID\tRUNNER\tISOLATION\tNOTE")
	for _, id := range ids {
		var s supervisor.Status
		err := c.call(ctx, http.MethodGet, streamPath(id, "/status"), &s)
		if all && gone(err) {
			continue // Deleted since it was listed.
		}
		if err != nil {
			return fmt.Errorf("stream %q: %w", id, err)
		}
		pid, runner := "-", "-"
		if s.PID != 0 {
			pid, runner = fmt.Sprint(s.PID), s.Runner+" "+s.RunnerVersion
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%d\t%s\t%s\t%s\t%s\n",
			s.ID, s.State, now.Sub(s.Since).Round(time.Second), s.Restarts, pid, runner, kept(s.Isolation), note(s))
	}
	return table.Flush()
}

// kept says what a stream is kept in, and who enforces its limits if it has any.
func kept(isolation supervisor.Isolation) string {
	text := cmp.Or(string(isolation.Profile), "-")
	if by := isolation.Limits.Enforcement; by != "" && by != supervisor.NotEnforced {
		text += "+" + string(by)
	}
	return text
}

// note says what a person should know of a stream, on one line.
func note(s supervisor.Status) string {
	text := strings.TrimPrefix(s.Reason, "it is "+string(s.State))
	switch {
	case s.State == supervisor.StateRunning && !connected(s):
		text = strings.TrimPrefix(shortcoming(s), "it is running, and ")
	case text == "" && s.State != supervisor.StateRunning && s.LastExit != nil:
		text = s.LastExit.Message
	case text == "":
		text = strings.Join(s.Warnings, "; ")
	}
	return strings.Join(strings.Fields(text), " ")
}
