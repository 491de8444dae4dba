package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
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
		Long: "Runs the streams of the files and those that the API has created before, each in\n" +
			"a process of its own, and serves the REST API that manages them, until SIGINT or\n" +
			"SIGTERM. A second signal kills.",
		Example: "  penstock serve -r 'configs/resources/*.yaml' configs/examples",
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := flags.config(cmd.Flags())
			if err != nil {
				return err
			}
			src := source{args: args, resources: flags.resources, templates: cfg.Templates, chilled: flags.chilled}
			if flags.watch && len(src.args)+len(src.resources)+len(src.templates) == 0 {
				return errors.New("--watch has nothing to watch: name a file, a folder or a glob, or resources by -r or templates by -t")
			}
			log, err := newLogger(cfg.Log)
			if err != nil {
				return err
			}
			stop, kill, release := signals(cmd.Context())
			defer release()
			return serve(stop, kill, cfg, &flags, src, cmd.OutOrStdout(), log)
		},
	}
	flags.register(cmd.Flags())
	return cmd
}

// serve runs the server until stop ends. Then it gives the streams their time
// to drain, which the end of kill cuts short, or leaves them to the next
// server, as on_exit says; and so whatever way it returns.
func serve(stop, kill context.Context, cfg configs.Config, flags *serveFlags, src source, stdout io.Writer, log *zap.Logger) (err error) {
	served := false
	// Before anything is touched: a file that cannot be read must not count as
	// one that is not there any more.
	declared, failures := src.read(log)
	if err := joined(failures); err != nil {
		return err
	}
	cfg.Supervisor.StreamListen = cfg.HTTP.StreamListen
	sup, err := supervisor.New(cfg.Supervisor, log)
	if err != nil {
		return err
	}
	var server *api.Server
	defer func() {
		if err != nil && server != nil && !served {
			err = errors.Join(err, giveUp(kill, cfg.Supervisor, server, sup, log))
			return
		}
		err = errors.Join(err, shutdown(kill, cfg.Supervisor, server, sup, log))
	}()
	// Before any stream runs, of those that the store holds too.
	if err := sup.UseTemplates(stop, declared.Templates, declared.Chilled); err != nil {
		return unlessStopped(stop, err)
	}
	ver, date := buildInfo()
	if server, err = api.New(cfg.HTTP, sup, log, ver, date); err != nil {
		return err
	}

	if err := clearAddr(flags.addrFile); err != nil {
		return err
	}
	// Before the first stream runs: an address that is taken must not cost a
	// stream's input. Who connects from now on is answered once it serves.
	addr, err := server.Listen()
	if err != nil {
		return err
	}
	if cfg.Supervisor.Isolation.Profile == supervisor.ProfileStrict {
		// Before the first stream runs as well: it must never find the API open.
		if err := keepFromAPI(server, sup, addr); err != nil {
			return err
		}
	}
	if err := sup.Start(stop); err != nil {
		return unlessStopped(stop, err)
	}
	if err := sup.Declare(stop, declared); err != nil {
		return unlessStopped(stop, err)
	}
	if flags.watch {
		watch, err := newWatcher(src, declared, sup.Declare, log)
		if err != nil {
			return err
		}
		ctx, cancel := context.WithCancel(stop)
		watched := make(chan struct{})
		go func() {
			defer close(watched)
			watch.run(ctx)
		}()
		defer func() {
			cancel()
			<-watched
		}()
	}

	served = true
	serving := make(chan error, 1)
	go func() { serving <- server.Serve() }()
	streams := len(sup.List())
	isolation := sup.IsolationSummary()
	log.Info("listening", zap.Stringer("address", addr), zap.Int("streams", streams), zap.String("isolation", isolation))
	if flags.addrFile != "" {
		if err := writeAddr(flags.addrFile, addr.String()); err != nil {
			return err
		}
		defer func() { _ = os.Remove(flags.addrFile) }()
	}
	if cfg.Log.Format == configs.FormatConsole || isTerminal(stdout) {
		if err := writeBanner(stdout, addr, cfg, isolation, streams, declared.Streams); err != nil {
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

// keepFromAPI leads streams that call the server to their endpoints alone.
func keepFromAPI(server *api.Server, sup *supervisor.Supervisor, control net.Addr) error {
	bound, err := netip.ParseAddrPort(control.String())
	if err != nil {
		return fmt.Errorf("reading the port of %s: %w", control, err)
	}
	functions, err := server.ListenFunctions()
	if err != nil {
		return err
	}
	return sup.Guard(bound.Port(), functions)
}

const (
	// connectionGrace is how long connections may stay open once every stream
	// has ended. Nothing but the end of an answer is left to send by then, and a
	// client that connected ahead of time to say nothing would stay for ever.
	connectionGrace = time.Second
	// requestGrace is how long requests may take to be answered before the
	// streams, which go on, are let go of.
	requestGrace = 5 * time.Second
)

// shutdown ends the server and its streams, or leaves these running.
func shutdown(kill context.Context, cfg supervisor.Config, server *api.Server, sup *supervisor.Supervisor, log *zap.Logger) error {
	var err error
	if cfg.OnExit == supervisor.OnExitDetach {
		log.Info("detaching from the streams")
		closeServer(kill, requestGrace, server, log)
		ctx, cancel := context.WithTimeout(kill, cfg.Timeouts.Shutdown)
		defer cancel()
		err = sup.Detach(ctx)
	} else {
		log.Info("stopping", zap.Duration("timeout", cfg.Timeouts.Shutdown))
		ctx, cancel := context.WithTimeout(kill, cfg.Timeouts.Shutdown)
		defer cancel()
		// The streams first: until one has ended, what it holds can be collected
		// from it.
		err = sup.Close(ctx)
		closeServer(kill, connectionGrace, server, log)
	}
	switch {
	case kill.Err() != nil && cfg.OnExit == supervisor.OnExitDetach:
		return errors.New("stopped by a second signal: requests may have been cut off; the streams run on")
	case kill.Err() != nil:
		return errors.New("stopped by a second signal: the streams may not have drained")
	case err != nil:
		return fmt.Errorf("cannot stop cleanly: %w", err)
	case cfg.OnExit == supervisor.OnExitDetach:
		log.Info("detached: the streams run on, for the next server on this data folder", zap.String("data_dir", cfg.DataDir))
	default:
		log.Info("stopped")
	}
	return nil
}

// giveUp is the end of a server that could not begin to serve. Streams that ran
// before it run on, whatever on_exit says: what is to be mended is not theirs.
func giveUp(kill context.Context, cfg supervisor.Config, server *api.Server, sup *supervisor.Supervisor, log *zap.Logger) error {
	ctx, cancel := context.WithTimeout(kill, cfg.Timeouts.Shutdown)
	defer cancel()
	err := sup.Abandon(ctx)
	closeServer(kill, connectionGrace, server, log)
	if err != nil {
		return fmt.Errorf("cannot stop cleanly: %w", err)
	}
	return nil
}

// closeServer ends the server, if there is one, and gives requests that long
// to be answered.
func closeServer(kill context.Context, grace time.Duration, server *api.Server, log *zap.Logger) {
	if server == nil {
		return
	}
	ctx, cancel := context.WithTimeout(kill, grace)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil {
		log.Info("closing connections that are still open", zap.NamedError("reason", err))
	}
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
