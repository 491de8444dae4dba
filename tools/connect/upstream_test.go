package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const (
	apacheHeader    = "// Copyright 2024 Somebody\n//\n// Licensed under the Apache License, Version 2.0 (the \"License\");\n\n"
	communityHeader = "// Licensed as a Redpanda Enterprise file under the Redpanda Community\n// License (the \"License\").\n\n"
	businessHeader  = "// Use of this software is governed by the Business Source License\n// included in the file licenses/BSL.md\n//\n// by the Apache License, Version 2.0\n\n"
)

func TestIsApache(t *testing.T) {
	for name, tt := range map[string]struct {
		text string
		want bool
	}{
		"by its header":               {apacheHeader + "package a\n", true},
		"with a build constraint":     {apacheHeader + "//go:build linux\n\n// Package a is.\npackage a\n", true},
		"community":                   {communityHeader + "package a\n", false},
		"both":                        {apacheHeader + "package a\n\n// see licenses/rcl.md\n", false},
		"business source":             {businessHeader + "package a\n", false},
		"none":                        {"package a\n", false},
		"not in the header":           {"package a\n\n" + apacheHeader, false},
		"in a string, without header": {"package a\n\nconst x = `\n" + apacheHeader + "`\n", false},
	} {
		if got := isApache([]byte(tt.text)); got != tt.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestCollect(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"go.mod":                                    "module m\n",
		"licenses/Apache-2.0.txt":                   "the licence",
		"internal/a/a.go":                           apacheHeader + "package a\n\n//go:embed texts one.txt\nvar files embed.FS\n",
		"internal/a/a_test.go":                      apacheHeader + "package a\n",
		"internal/a/one.txt":                        "one",
		"internal/a/texts/two.txt":                  "two",
		"internal/a/other.txt":                      "not embedded",
		"internal/a/paid.go":                        communityHeader + "package a\n",
		"public/b/b.go":                             "package b\n",
		"cmd/c/main.go":                             apacheHeader + "package main\n",
		"internal/impl/redpanda/tracer_redpanda.go": apacheHeader + "package redpanda\n",
	} {
		to := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	tree, err := collect(dir, map[string][]byte{"public/b/b.go": []byte("package b // ours\n")})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"go.mod", "LICENSE", "internal/a/a.go", "internal/a/one.txt", "internal/a/texts/two.txt", "public/b/b.go"}
	for _, name := range want {
		if _, found := tree[name]; !found {
			t.Errorf("%s is missing", name)
		}
	}
	if len(tree) != len(want) || !strings.Contains(string(tree["public/b/b.go"]), "ours") {
		t.Errorf("the copy holds %d files, want %d: %v", len(tree), len(want), tree)
	}
	if err := os.Remove(filepath.Join(dir, "internal/impl/redpanda/tracer_redpanda.go")); err != nil {
		t.Fatal(err)
	}
	if _, err := collect(dir, nil); err == nil || !strings.Contains(err.Error(), "tracer_redpanda.go") {
		t.Errorf("a file to be left out is not there: error %v", err)
	}
}

// The modules of the runners require the version that is copied.
func TestRunnersRequireThisVersion(t *testing.T) {
	for _, runner := range []string{"messaging", "connect"} {
		text, err := os.ReadFile(filepath.Join("..", "..", "cmd", "penstock-runner-"+runner, "go.mod"))
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range []string{"\t" + modulePath + " " + moduleVersion + "\n", "replace " + modulePath + " => ../../" + target + "\n"} {
			if !strings.Contains(string(text), line) {
				t.Errorf("penstock-runner-%s: go.mod does not say %q", runner, line)
			}
		}
	}
}
