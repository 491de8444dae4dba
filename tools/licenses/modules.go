package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/google/licensecheck"
)

// A binary is one that we hand out; the licences of all it holds are listed.
type binary struct {
	name string
	dir  string // of its module, below the root
	pkg  string // as seen from dir
}

var binaries = []binary{
	{"penstock", ".", "./cmd/penstock"},
	{"penstock-runner", ".", "./cmd/penstock-runner"},
	{"penstock-runner-messaging", "cmd/penstock-runner-messaging", "."},
	{"penstock-runner-connect", "cmd/penstock-runner-connect", "."},
}

// ours is the module that the runners with modules of their own import.
const ours = "penstock"

// chosen names, for a module that is offered under several licences, the file
// that holds the one we take.
var chosen = map[string]string{
	// EPL-2.0, or the Eclipse Distribution License, which is BSD-3-Clause.
	"github.com/eclipse/paho.mqtt.golang": "edl-v10",
}

// whole lists modules whose licence file is that of a larger project: after the
// module's own licence it has those of parts in other languages, which are no
// part of the module. The first counts.
var whole = []string{"github.com/apache/arrow/go/arrow", "github.com/apache/arrow/go/v12", "github.com/apache/arrow/go/v15"}

// module is one module that is linked into a binary.
type module struct {
	path, version string
	dir           string   // where its source is
	changed       bool     // whether we replace it by a copy of our making
	binaries      []string // which binaries hold it
	licenses      []string // SPDX identifiers, sorted
	files         []string // its licence and notice files, below dir
}

// linked lists the modules of every binary, with their licences, sorted by
// path; binaries may hold one in different versions. The standard library comes
// first, as module "std".
func linked(root string) ([]*module, error) {
	std := &module{path: "std"}
	byVersion := map[string]*module{}
	for _, b := range binaries {
		found, err := modulesOf(filepath.Join(root, filepath.FromSlash(b.dir)), b.pkg)
		if err != nil {
			return nil, err
		}
		std.binaries = append(std.binaries, b.name)
		for _, m := range found {
			at := m.path + "@" + m.version
			if byVersion[at] == nil {
				byVersion[at] = m
			}
			byVersion[at].binaries = append(byVersion[at].binaries, b.name)
		}
	}
	goroot, err := goOutput(root, "env", "GOROOT")
	if err != nil {
		return nil, err
	}
	std.dir = strings.TrimSpace(string(goroot))
	all := []*module{std}
	all = slices.AppendSeq(all, maps.Values(byVersion))
	slices.SortFunc(all[1:], func(a, b *module) int {
		return cmp.Or(strings.Compare(a.path, b.path), strings.Compare(a.version, b.version))
	})
	var refused []error
	for _, m := range all {
		refused = append(refused, m.identify())
	}
	return all, errors.Join(refused...)
}

// modulesOf lists the modules that one main package is built from, for the
// platform of the image, whatever this machine is.
func modulesOf(root, pkg string) ([]*module, error) {
	out, err := goOutput(root, "list", "-deps", "-json=Module", pkg)
	if err != nil {
		return nil, err
	}
	seen := map[string]bool{}
	var found []*module
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p struct {
			Module *struct {
				Path, Version, Dir string
				Main               bool
				Replace            *struct{ Version, Dir string }
			}
		}
		switch err := dec.Decode(&p); {
		case errors.Is(err, io.EOF):
			return found, nil
		case err != nil:
			return nil, err
		case p.Module == nil || p.Module.Main || p.Module.Path == ours || seen[p.Module.Path]:
			continue
		}
		seen[p.Module.Path] = true
		m := &module{path: p.Module.Path, version: p.Module.Version, dir: p.Module.Dir}
		if r := p.Module.Replace; r != nil {
			m.dir = r.Dir
			if m.changed = r.Version == ""; !m.changed {
				m.version = r.Version
			}
		}
		found = append(found, m)
	}
}

func goOutput(root string, args ...string) ([]byte, error) {
	cmd := exec.Command("go", args...)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH=amd64", "CGO_ENABLED=0")
	out, err := cmd.Output()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return nil, fmt.Errorf("go %s: %s", strings.Join(args, " "), exit.Stderr)
	}
	return out, err
}

var (
	licenseFile = regexp.MustCompile(`(?i)^(un)?(licen[cs]e|copying)([-_.].*)?$`)
	noticeFile  = regexp.MustCompile(`(?i)^notice([-_.].*)?$`)
)

// identify reads the licence files at the root of the module's source.
func (m *module) identify() error {
	entries, err := os.ReadDir(m.dir)
	if err != nil {
		return fmt.Errorf("%s: %w", m.path, err)
	}
	for _, entry := range entries {
		name := entry.Name()
		choice, choose := chosen[m.path]
		license := licenseFile.MatchString(name)
		if entry.IsDir() || !license && !noticeFile.MatchString(name) && name != choice {
			continue
		}
		m.files = append(m.files, name)
		if choose && name != choice || !choose && !license {
			continue
		}
		text, err := os.ReadFile(filepath.Join(m.dir, name))
		if err != nil {
			return fmt.Errorf("%s: %w", m.path, err)
		}
		for _, match := range licensecheck.Scan(text).Match {
			if match.IsURL || slices.Contains(m.licenses, match.ID) {
				continue
			}
			m.licenses = append(m.licenses, match.ID)
			if slices.Contains(whole, m.path) {
				break
			}
		}
	}
	slices.Sort(m.licenses)
	if len(m.licenses) == 0 {
		return fmt.Errorf("%s: no licence found in %s", m.path, m.dir)
	}
	for _, id := range m.licenses {
		if !slices.Contains(accepted, id) {
			return fmt.Errorf("%s is under %s, which is not among the accepted licences of tools/licenses", m.path, id)
		}
	}
	return nil
}
