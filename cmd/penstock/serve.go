package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/mattn/go-isatty"
	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"penstock/api"
	"penstock/configs"
	"penstock/supervisor"
)

func newServeCommand() *cobra.Command {
	var flags serveFlags
	cmd := &cobra.Command{
		Use:   "serve [FILE|FOLDER|GLOB]...",
		Short: "Run streams and serve their API",
		Long: "Runs the streams of the files, each in a process of its own, and serves the REST\n" +
			"API that manages them, until SIGINT or SIGTERM. A second signal kills.",
		Example: "  penstock serve -r 'configs/resources/*.yaml' configs/examples",
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := flags.config(cmd.Flags())
			if err != nil {
				return err
			}
			log, err := newLogger(cfg.Log)
			if err != nil {
				return err
			}
			stop, kill, release := signals(cmd.Context())
			defer release()
			return serve(stop, kill, cfg, &flags, args, cmd.OutOrStdout(), log)
		},
	}
	flags.register(cmd.Flags())
	return cmd
}

// serve runs the server until stop ends, and then gives the streams their time
// to drain, which the end of kill cuts short. Whatever way it returns, it
// leaves no runner behind.
func serve(stop, kill context.Context, cfg configs.Config, flags *serveFlags, args []string, stdout io.Writer, log *zap.Logger) (err error) {
	files, err := findStreams(args, log)
	if err != nil {
		return err
	}
	sup, err := supervisor.New(cfg.Supervisor, log)
	if err != nil {
		return err
	}
	var server *api.Server
	defer func() { err = errors.Join(err, shutdown(kill, cfg.Supervisor.Timeouts.Shutdown, server, sup, log)) }()
	ver, date := buildInfo()
	if server, err = api.New(cfg.HTTP, sup, log, ver, date); err != nil {
		return err
	}

	// Before the first stream runs: an address that is taken must not cost a
	// stream's input.
	addr, err := server.Listen()
	if err != nil {
		return err
	}
	load := loader{sup: sup, log: log, chilled: flags.chilled, limit: cfg.Supervisor.Concurrency}
	if err := load.resources(stop, flags.resources); err != nil {
		return unlessStopped(stop, err)
	}
	texts, err := load.streams(stop, files)
	if err != nil {
		return unlessStopped(stop, err)
	}

	serving := make(chan error, 1)
	go func() { serving <- server.Serve() }()
	log.Info("listening", zap.Stringer("address", addr), zap.Int("streams", len(files)))
	if flags.addrFile != "" {
		if err := writeAddr(flags.addrFile, addr.String()); err != nil {
			return err
		}
		defer func() { _ = os.Remove(flags.addrFile) }()
	}
	if cfg.Log.Format == configs.FormatConsole || isTerminal(stdout) {
		if err := writeBanner(stdout, addr, cfg, texts); err != nil {
			log.Warn("the banner cannot be written", zap.Error(err))
		}
	}

	select {
	case <-stop.Done():
		return nil
	case err := <-serving:
		return fmt.Errorf("the HTTP server ended: %w", err)
	}
}

// connectionGrace is how long connections may stay open once every stream has
// ended. Nothing but the end of an answer is left to send by then, and a
// client that connected ahead of time to say nothing would stay for ever.
const connectionGrace = time.Second

// shutdown ends every stream, at most within timeout, and then the server:
// until a stream has ended, what it holds can be collected from it.
func shutdown(kill context.Context, timeout time.Duration, server *api.Server, sup *supervisor.Supervisor, log *zap.Logger) error {
	log.Info("stopping", zap.Duration("timeout", timeout))
	ctx, cancel := context.WithTimeout(kill, timeout)
	defer cancel()
	err := sup.Close(ctx)
	if server != nil {
		ctx, cancel := context.WithTimeout(kill, connectionGrace)
		defer cancel()
		if err := server.Shutdown(ctx); err != nil {
			log.Info("closing connections that are still open", zap.NamedError("reason", err))
		}
	}
	switch {
	case kill.Err() != nil:
		return errors.New("stopped by a second signal: the streams may not have drained")
	case err != nil:
		return fmt.Errorf("cannot stop cleanly: %w", err)
	}
	log.Info("stopped")
	return nil
}

// unlessStopped drops the error of what was given up because of a signal.
func unlessStopped(stop context.Context, err error) error {
	if stop.Err() != nil {
		return nil
	}
	return err
}

func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	return ok && isatty.IsTerminal(file.Fd())
}
