package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/google/licensecheck"
)

// binaries are what we hand out; the licences of all they hold are listed.
var binaries = []string{"penstock", "penstock-runner"}

// module is one module that is linked into a binary.
type module struct {
	path, version string
	dir           string   // where its source is
	binaries      []string // which binaries hold it
	licenses      []string // SPDX identifiers, sorted
	files         []string // its licence and notice files, below dir
}

// linked lists the modules of every binary, with their licences, sorted by
// path. The standard library comes first, as module "std".
func linked(root string) ([]*module, error) {
	byPath := map[string]*module{}
	for _, binary := range binaries {
		found, err := modulesOf(root, "./cmd/"+binary)
		if err != nil {
			return nil, err
		}
		for _, m := range found {
			if byPath[m.path] == nil {
				byPath[m.path] = m
			}
			byPath[m.path].binaries = append(byPath[m.path].binaries, binary)
		}
	}
	goroot, err := goOutput(root, "env", "GOROOT")
	if err != nil {
		return nil, err
	}
	all := []*module{{path: "std", dir: strings.TrimSpace(string(goroot)), binaries: binaries}}
	for _, m := range byPath {
		all = append(all, m)
	}
	slices.SortFunc(all[1:], func(a, b *module) int { return strings.Compare(a.path, b.path) })
	for _, m := range all {
		if err := m.identify(); err != nil {
			return nil, err
		}
	}
	return all, nil
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
		case p.Module == nil || p.Module.Main || seen[p.Module.Path]:
			continue
		}
		seen[p.Module.Path] = true
		m := &module{path: p.Module.Path, version: p.Module.Version, dir: p.Module.Dir}
		if r := p.Module.Replace; r != nil {
			m.version, m.dir = r.Version, r.Dir
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
		license := licenseFile.MatchString(name)
		if entry.IsDir() || !license && !noticeFile.MatchString(name) {
			continue
		}
		m.files = append(m.files, name)
		if !license {
			continue
		}
		text, err := os.ReadFile(filepath.Join(m.dir, name))
		if err != nil {
			return fmt.Errorf("%s: %w", m.path, err)
		}
		for _, match := range licensecheck.Scan(text).Match {
			if !match.IsURL && !slices.Contains(m.licenses, match.ID) {
				m.licenses = append(m.licenses, match.ID)
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
