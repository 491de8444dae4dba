package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// What the latest figures of a document are between.
const (
	latestBegins = "<!-- bench-report: begins -->\n"
	latestEnds   = "<!-- bench-report: ends -->\n"
)

// readReport reads what writeJSON wrote.
func readReport(file string) (*report, error) {
	text, err := os.ReadFile(filepath.Clean(file))
	if err != nil {
		return nil, fmt.Errorf("reading the figures: %w", err)
	}
	r := &report{}
	if err := json.Unmarshal(text, r); err != nil {
		return nil, fmt.Errorf("reading the figures of %s: %w", file, err)
	}
	if r.Machine.Cores == 0 {
		return nil, fmt.Errorf("%s holds no figures of this benchmark", file)
	}
	return r, nil
}

// publish replaces the latest figures of a document, and writes the plots to
// the folder beside it that has its name.
func (r *report) publish(document string) error {
	text, err := os.ReadFile(document)
	if err != nil {
		return fmt.Errorf("reading the document: %w", err)
	}
	folder := strings.TrimSuffix(document, filepath.Ext(document))
	figures := r.figures()
	latest, err := r.latest(filepath.Base(folder), figures)
	if err != nil {
		return err
	}
	replaced, err := replaceLatest(text, latest)
	if err != nil {
		return fmt.Errorf("%s: %w", document, err)
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return fmt.Errorf("making the folder of the plots: %w", err)
	}
	for _, f := range figures {
		file := filepath.Join(folder, f.name+".svg")
		if f.svg == nil {
			// That of an earlier report is not of this one.
			if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("removing a plot: %w", err)
			}
			continue
		}
		if err := os.WriteFile(file, f.svg, 0o644); err != nil {
			return fmt.Errorf("writing a plot: %w", err)
		}
	}
	if err := os.WriteFile(document, replaced, 0o644); err != nil {
		return fmt.Errorf("writing the document: %w", err)
	}
	return nil
}

// latest is the report as it stands in a document, with its plots.
func (r *report) latest(folder string, figures []figure) ([]byte, error) {
	var out bytes.Buffer
	if err := r.write(&out); err != nil {
		return nil, err
	}
	for _, f := range figures {
		if f.svg != nil {
			fmt.Fprintf(&out, "\n![%s](%s/%s.svg)\n", f.title, folder, f.name)
		}
	}
	return out.Bytes(), nil
}

// replaceLatest puts text between the markers, which must be there once each.
func replaceLatest(document, latest []byte) ([]byte, error) {
	before, rest, begins := bytes.Cut(document, []byte(latestBegins))
	_, after, ends := bytes.Cut(rest, []byte(latestEnds))
	if !begins || !ends {
		return nil, fmt.Errorf("the latest figures go between the lines %q and %q, which are not there", latestBegins, latestEnds)
	}
	if bytes.Contains(after, []byte(latestBegins)) || bytes.Contains(after, []byte(latestEnds)) {
		return nil, fmt.Errorf("the lines %q and %q must be there once", latestBegins, latestEnds)
	}
	return bytes.Join([][]byte{before, []byte(latestBegins + "\n"), latest, []byte("\n" + latestEnds), after}, nil), nil
}
