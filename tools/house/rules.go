package main

import (
	"path"
	"slices"
	"strings"
)

// module is the import path of the module the rules are about.
const module = "penstock"

// engine is the module that must stay out of the supervisor.
const engine = "github.com/redpanda-data/benthos"

// mayImport says, folder by folder, which of our own folders its code and its
// tests may import directly. A folder that ends in /... stands for itself and
// all below it. docs/architecture.md tells the reasons.
var mayImport = map[string][]string{
	"cmd/penstock":                  {"configs", "api", "supervisor", "supervisor/document"},
	"cmd/penstock-launch":           {"supervisor/sandbox"},
	"cmd/penstock-runner":           {"runner"},
	"cmd/penstock-runner-messaging": {"runner"},
	"cmd/penstock-runner-connect":   {"runner"},
	"docs/examples/custom-runner":   {"runner"},
	"configs":                       {"api", "supervisor"},
	"api":                           {"rpc/multiplex", "rpc/processors", "supervisor", "supervisor/calls", "supervisor/catalogue", "supervisor/document", "supervisor/events", "supervisor/logs", "supervisor/options", "supervisor/stats"},
	"supervisor":                    {"rpc", "rpc/handover", "rpc/multiplex", "supervisor/..."},
	"supervisor/process":            {"rpc", "supervisor/cgroup", "supervisor/folder", "supervisor/sandbox"},
	"supervisor/calls":              {"supervisor/options", "supervisor/store"},
	"supervisor/catalogue":          {"rpc"},
	"supervisor/cgroup":             {},
	"supervisor/document":           {},
	"supervisor/egress":             {},
	"supervisor/events":             {},
	"supervisor/folder":             {},
	"supervisor/logs":               {"supervisor/folder"},
	"supervisor/offline":            {"rpc"},
	"supervisor/options":            {},
	"supervisor/sandbox":            {},
	"supervisor/stats":              {"rpc", "supervisor/cgroup"},
	"supervisor/store":              {},
	"supervisor/telemetry":          {"rpc", "supervisor/cgroup"},
	"supervisor/watchdog":           {"supervisor/folder"},
	"rpc":                           {"rpc/runnerpb"},
	"rpc/handover":                  {"rpc/upgrade"},
	"rpc/multiplex":                 {"rpc/upgrade"},
	"rpc/processors":                {},
	"rpc/runnerpb":                  {},
	"rpc/sharepb":                   {},
	"rpc/upgrade":                   {},
	"runner":                        {"rpc", "rpc/handover", "rpc/multiplex", "rpc/processors", "runner/engine", "runner/lone", "runner/share"},
	"runner/engine":                 {"rpc", "rpc/sharepb", "runner/share"},
	"runner/lone":                   {},
	"runner/share":                  {"rpc/sharepb"},
	"integration/...":               {"integration/..."},
	"integration/chaos/runner":      {"runner"},
	"integration/brokers/...":       {},
}

// mayImportEngine lists the folders that may name the engine directly.
var mayImportEngine = []string{"runner/engine", "cmd/penstock-runner", "docs/examples/custom-runner", "integration/..."}

// free lists binaries that must not hold the engine, by whatever way.
var free = []string{"cmd/penstock"}

// match tells whether folder is what pattern stands for.
func match(pattern, folder string) bool {
	if base, ok := strings.CutSuffix(pattern, "/..."); ok {
		return folder == base || strings.HasPrefix(folder, base+"/")
	}
	return folder == pattern
}

func matchAny(patterns []string, folder string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return match(p, folder) })
}

// judgeImport returns why a file in folder may not import what it imports, or
// nothing.
func judgeImport(folder, imported string) string {
	if imported == engine || strings.HasPrefix(imported, engine+"/") {
		if !matchAny(mayImportEngine, folder) {
			return "imports " + imported + ": only " + strings.Join(mayImportEngine, ", ") + " may import the engine"
		}
		return ""
	}
	if imported != module && !strings.HasPrefix(imported, module+"/") {
		return ""
	}
	target := strings.TrimPrefix(strings.TrimPrefix(imported, module), "/")
	if target == folder {
		return "" // an external test of the package itself
	}
	allowed, known := allowedIn(folder)
	switch {
	case !known:
		return "is in a folder without an import rule: add " + folder + " to tools/house/rules.go and docs/architecture.md"
	case !matchAny(allowed, target):
		return "imports " + imported + ": " + folder + " may import " + orNothing(allowed) + " of ours"
	}
	return ""
}

// allowedIn finds the rule for a folder: its own, or that of a tree it is in.
func allowedIn(folder string) (allowed []string, known bool) {
	if allowed, known = mayImport[folder]; known {
		return allowed, true
	}
	for dir := folder; dir != "."; dir = path.Dir(dir) {
		if allowed, known = mayImport[dir+"/..."]; known {
			return allowed, true
		}
	}
	return nil, false
}

func orNothing(list []string) string {
	if len(list) == 0 {
		return "nothing"
	}
	return strings.Join(list, ", ")
}
