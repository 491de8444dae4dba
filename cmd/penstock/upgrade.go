package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"penstock/supervisor"
)

// upgradePoll is how often a stream that was restarted is looked at.
const upgradePoll = 100 * time.Millisecond

// upgradePatience is how long a runner that is to be replaced may take to tell of
// its connections.
const upgradePatience = 2 * time.Second

func newUpgradeCommand() *cobra.Command {
	u := upgrade{}
	cmd := &cobra.Command{
		Use:   "upgrade",
		Short: "Restart the streams whose runner is of another version",
		Long: "Says which streams run a version of penstock-runner that is not the one on the\n" +
			"server's disk. With --rolling it restarts them, one after another: each is\n" +
			"awaited until it runs and is connected, and the first that fails ends it. A\n" +
			"paused stream, and one that has ended, start with the new version anyway.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := positive(u.timeout); err != nil {
				return err
			}
			u.out = cmd.OutOrStdout()
			// A restart takes as long as the stream takes to drain.
			u.client.timeout = u.timeout
			return u.run(cmd.Context())
		},
	}
	u.client.register(cmd.Flags())
	cmd.Flags().BoolVar(&u.rolling, "rolling", false, "restart them, one after another")
	cmd.Flags().BoolVar(&u.all, "all", false, "those of the same version, too")
	cmd.Flags().DurationVar(&u.timeout, "timeout", time.Minute, "the longest that one stream may take to stop, and then to be connected again")
	return cmd
}

// upgrade is one run of the command.
type upgrade struct {
	client  client
	rolling bool
	all     bool
	timeout time.Duration
	out     io.Writer

	// versions are those to come to, by the names of the runners; version is that
	// of the core runner.
	versions map[string]string
	version  string
	// restarted counts the streams that were, or would be.
	restarted int
}

func (u *upgrade) run(ctx context.Context) error {
	var version struct {
		Runner  string
		Runners map[string]string
	}
	if err := u.client.call(ctx, http.MethodGet, "/version", &version); err != nil {
		return err
	}
	if version.Runner == "" {
		return errors.New("the server does not tell the version of its runner binary: is it a Penstock that can restart streams?")
	}
	u.version, u.versions = version.Runner, version.Runners
	var listed map[string]struct{}
	if err := u.client.call(ctx, http.MethodGet, "/streams", &listed); err != nil {
		return err
	}
	ids := slices.Sorted(maps.Keys(listed))
	for _, id := range ids {
		line, err := u.one(ctx, id)
		if err != nil {
			return fmt.Errorf("stream %q: %w; the streams after it were not touched: once it is mended, run the same command again to go on", id, err)
		}
		fmt.Fprintf(u.out, "%s  %s\n", id, line)
	}
	switch {
	case u.restarted == 0:
		fmt.Fprintf(u.out, "none of %d streams has to be restarted for version %s\n", len(ids), u.version)
	case u.rolling:
		fmt.Fprintf(u.out, "%d of %d streams were restarted with version %s\n", u.restarted, len(ids), u.version)
	default:
		fmt.Fprintf(u.out, "%d of %d streams would be restarted with version %s: add --rolling\n", u.restarted, len(ids), u.version)
	}
	return nil
}

// one sees to one stream and says what became of it.
func (u *upgrade) one(ctx context.Context, id string) (string, error) {
	before, err := u.answered(ctx, id)
	switch {
	case gone(err):
		return "deleted meanwhile", nil
	case err != nil:
		return "", err
	case before.RunnerVersion == "":
		return "has no runner: " + string(before.State), nil
	}
	// That of a runner which is not installed any more is not told.
	version := cmp.Or(u.versions[before.Runner], u.version)
	if before.RunnerVersion == version && !u.all {
		return "has version " + version, nil
	}
	u.restarted++
	if !u.rolling {
		return fmt.Sprintf("would be restarted: %s, then %s", before.RunnerVersion, version), nil
	}
	began := time.Now()
	err = u.client.call(ctx, http.MethodPost, streamPath(id, "/restart"), nil)
	switch {
	case gone(err):
		return "deleted meanwhile", nil
	case err != nil:
		return "", err
	}
	after, err := u.await(ctx, id, connected(before))
	switch {
	case gone(err):
		return "deleted meanwhile", nil
	case err != nil:
		return "", err
	}
	note := ""
	if after.State == supervisor.StateRunning && !connected(after) {
		note = ", not connected, as before"
	}
	return fmt.Sprintf("restarted in %s: %s, now %s%s", time.Since(began).Round(time.Millisecond), before.RunnerVersion, after.RunnerVersion, note), nil
}

// answered is the status of a stream once its runner has answered, or after
// upgradePatience: a busy one may be late, and what it was connected to is what
// the next one is to be.
func (u *upgrade) answered(ctx context.Context, id string) (supervisor.Status, error) {
	late := time.After(upgradePatience)
	for {
		status, err := u.status(ctx, id)
		if err != nil || status.Unanswered == "" {
			return status, err
		}
		select {
		case <-ctx.Done():
			return status, ctx.Err()
		case <-late:
			return status, nil
		case <-time.After(upgradePoll):
		}
	}
}

func (u *upgrade) status(ctx context.Context, id string) (supervisor.Status, error) {
	var status supervisor.Status
	err := u.client.call(ctx, http.MethodGet, streamPath(id, "/status"), &status)
	return status, err
}

// await waits until a stream runs, and is connected where it was before, or
// has ended well.
func (u *upgrade) await(ctx context.Context, id string, wantConnected bool) (supervisor.Status, error) {
	ctx, cancel := context.WithTimeout(ctx, u.timeout)
	defer cancel()
	var status supervisor.Status
	for {
		now, err := u.status(ctx, id)
		switch {
		case err != nil && ctx.Err() == nil:
			return now, err
		case err == nil:
			status = now
		}
		switch {
		case ctx.Err() != nil:
			return status, fmt.Errorf("it was restarted, but after %s %s", u.timeout, shortcoming(status))
		case status.State == supervisor.StateFinished,
			status.State == supervisor.StateRunning && (connected(status) || !wantConnected):
			return status, nil
		case status.State == supervisor.StateFailed, status.Desired == supervisor.DesiredPaused:
			return status, fmt.Errorf("it was restarted, but %s", shortcoming(status))
		}
		select {
		case <-ctx.Done():
		case <-time.After(upgradePoll):
		}
	}
}

// connected says that all connections of a stream are there.
func connected(status supervisor.Status) bool {
	down := func(c supervisor.Connection) bool { return !c.Connected }
	return status.Unanswered == "" && len(status.Connections) > 0 && !slices.ContainsFunc(status.Connections, down)
}

// shortcoming says what a stream lacks that should run.
func shortcoming(status supervisor.Status) string {
	text := "it is " + string(status.State)
	switch {
	case status.State == "":
		return "its status could not be read"
	case status.Reason != "":
		return text + ": " + status.Reason
	case status.Unanswered != "":
		return text + ", and " + status.Unanswered
	}
	for _, c := range status.Connections {
		if c.Connected {
			continue
		}
		text += fmt.Sprintf(", and %s is not connected", c.Path)
		if c.Error != "" {
			text += ": " + c.Error
		}
		return text
	}
	if len(status.Connections) == 0 {
		text += " without any connection"
	}
	return text
}
