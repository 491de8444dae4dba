package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const (
	mit = "Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated documentation files (the \"Software\"), to deal in the Software without restriction, including without limitation the rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit persons to whom the Software is furnished to do so, subject to the following conditions:\n\nThe above copyright notice and this permission notice shall be included in all copies or substantial portions of the Software.\n\nTHE SOFTWARE IS PROVIDED \"AS IS\", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.\n"
	gpl = "This program is free software: you can redistribute it and/or modify it under the terms of the GNU General Public License as published by the Free Software Foundation, either version 3 of the License, or (at your option) any later version.\n"
)

// Of several licences that a module is offered under, the chosen one counts, and
// the files of all are kept. Without that file there is none.
func TestIdentifyTakesTheChosenLicence(t *testing.T) {
	m := &module{path: "github.com/eclipse/paho.mqtt.golang", dir: t.TempDir()}
	for name, text := range map[string]string{"LICENSE": gpl, "edl-v10": mit} {
		if err := os.WriteFile(filepath.Join(m.dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.identify(); err != nil || !slices.Equal(m.licenses, []string{"MIT"}) || !slices.Equal(m.files, []string{"LICENSE", "edl-v10"}) {
		t.Errorf("licences %v, files %v, error %v", m.licenses, m.files, err)
	}
	if err := os.Remove(filepath.Join(m.dir, "edl-v10")); err != nil {
		t.Fatal(err)
	}
	m = &module{path: m.path, dir: m.dir}
	if err := m.identify(); err == nil || !strings.Contains(err.Error(), "no licence found") {
		t.Errorf("without the file: error %v", err)
	}
}

func TestIdentify(t *testing.T) {
	tests := []struct {
		name, file, text, err string
	}{
		{"accepted", "LICENSE", mit, ""},
		{"British spelling", "licence.md", mit, ""},
		{"not accepted", "COPYING", gpl, "not among the accepted licences"},
		{"none", "README.md", mit, "no licence found"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := &module{path: "example.com/m", dir: t.TempDir()}
			if err := os.WriteFile(filepath.Join(m.dir, tt.file), []byte(tt.text), 0o600); err != nil {
				t.Fatal(err)
			}
			err := m.identify()
			switch {
			case tt.err == "" && (err != nil || !slices.Equal(m.licenses, []string{"MIT"})):
				t.Errorf("licences %v, error %v, want MIT", m.licenses, err)
			case tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)):
				t.Errorf("error %v, want %q", err, tt.err)
			}
		})
	}
}
