package main

import (
	"github.com/spf13/pflag"

	"penstock/configs"
	"penstock/supervisor"
)

// serveFlags are the flags of serve. Those that have a key in the config file
// override it when they are given.
type serveFlags struct {
	configFile string
	sets       []string
	overrides  configs.Config

	resources []string
	templates []string
	chilled   bool
	watch     bool
	addrFile  string
	onExit    string
	isolation string
}

func (f *serveFlags) register(flags *pflag.FlagSet) {
	f.overrides = configs.Default()
	o := &f.overrides
	flags.StringVar(&f.configFile, "config", "", "the server's config `FILE`; configs/penstock.yaml has every key")
	flags.StringArrayVar(&f.sets, "set", nil, "set one key of the config, such as timeouts.stop=5s (`PATH=VALUE`, repeatable)")
	flags.StringVar(&o.HTTP.Listen, "listen", o.HTTP.Listen, "`HOST:PORT` to serve on")
	flags.StringVar(&o.Supervisor.DataDir, "data-dir", "", "`FOLDER` of definitions, sockets and logs (default $XDG_STATE_HOME/penstock or ~/.local/state/penstock)")
	flags.StringVar(&o.Supervisor.Runner, "runner", "", "`PATH` of penstock-runner (default beside this binary)")
	flags.BoolVar(&o.Supervisor.PrefixStreamEndpoints, "prefix-stream-endpoints", o.Supervisor.PrefixStreamEndpoints, "serve the HTTP endpoints of a stream below /{id}")
	flags.StringVar(&f.onExit, "on-exit", string(o.Supervisor.OnExit), "what becomes of the streams at the server's exit (`ACTION`): stop ends them, detach leaves them to the next server")
	flags.StringVar(&f.isolation, "isolation", string(o.Supervisor.Isolation.Profile), "what streams are kept in (`PROFILE`): none, standard or strict")
	flags.StringVar(&o.Log.Level, "log-level", o.Log.Level, "the least severe `LEVEL` to log: debug, info, warn or error")
	flags.StringVar(&o.Log.Format, "log-format", o.Log.Format, "the log's `FORMAT`: console or json")
	flags.StringArrayVarP(&f.resources, "resources", "r", nil, "load resource files (`GLOB`, repeatable)")
	flags.StringArrayVarP(&f.templates, "templates", "t", nil, "load template files (`GLOB`, repeatable)")
	flags.BoolVar(&f.watch, "watch", false, "put stream, resource and template files into force when they change")
	flags.BoolVar(&f.chilled, "chilled", false, "start streams and resources from files in spite of lint errors, and use such templates")
	flags.StringVar(&f.addrFile, "addr-file", "", "write the bound host:port to this `PATH` once the server listens")
}

// config is what the defaults, the file, the sets and the flags make together.
func (f *serveFlags) config(flags *pflag.FlagSet) (configs.Config, error) {
	cfg, err := configs.Load(f.configFile, f.sets)
	if err != nil {
		return cfg, err
	}
	o := &f.overrides
	for name, override := range map[string]func(){
		"listen":                  func() { cfg.HTTP.Listen = o.HTTP.Listen },
		"data-dir":                func() { cfg.Supervisor.DataDir = o.Supervisor.DataDir },
		"runner":                  func() { cfg.Supervisor.Runner = o.Supervisor.Runner },
		"prefix-stream-endpoints": func() { cfg.Supervisor.PrefixStreamEndpoints = o.Supervisor.PrefixStreamEndpoints },
		"on-exit":                 func() { cfg.Supervisor.OnExit = supervisor.OnExit(f.onExit) },
		"isolation":               func() { cfg.Supervisor.Isolation.Profile = supervisor.Profile(f.isolation) },
		"templates":               func() { cfg.Templates = f.templates },
		"log-level":               func() { cfg.Log.Level = o.Log.Level },
		"log-format":              func() { cfg.Log.Format = o.Log.Format },
	} {
		if flags.Changed(name) {
			override()
		}
	}
	if cfg.Supervisor.DataDir == "" {
		if cfg.Supervisor.DataDir, err = configs.DefaultDataDir(); err != nil {
			return cfg, err
		}
	}
	return cfg, cfg.Validate()
}
