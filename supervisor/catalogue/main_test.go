package catalogue

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"gopkg.in/yaml.v3"

	"penstock/rpc"
)

// awhile bounds every wait of these tests.
const awhile = time.Minute

// coreBinary is the real core runner, built once, and coreSays what it says.
var (
	coreBinary string
	coreSays   rpc.Description
)

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "penstock-catalogue")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	coreBinary = filepath.Join(dir, "penstock-runner")
	build := exec.Command("go", "build", "-o", coreBinary, "penstock/cmd/penstock-runner")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		panic(string(out))
	}
	said, _, err := ask(context.Background(), coreBinary)
	if err != nil {
		panic(err)
	}
	coreSays = *said
	code := m.Run()
	if err := goleak.Find(); err != nil && code == 0 {
		println(err.Error())
		return 1
	}
	return code
}

// component is one whose fields hold other components, by their names.
func component(class rpc.ComponentType, name string, children ...rpc.Field) rpc.Component {
	return rpc.Component{Type: class, Name: name, Status: "stable", Config: rpc.Field{Type: "object", Kind: "scalar", Children: children}}
}

// with is what a runner says that has these components beside those of the core
// runner.
func with(more ...rpc.Component) rpc.Description {
	out := coreSays
	out.Components = append(append([]rpc.Component{}, coreSays.Components...), more...)
	return out
}

// runnerThat is a runner of a size that says this of itself.
func runnerThat(name string, size int64, said rpc.Description) *Runner {
	r := &Runner{Name: name, Path: "/opt/penstock-runner-" + name, Size: size}
	r.learn(&said)
	return r
}

// values reads YAML as the supervisor shows it.
func values(t *testing.T, text string) any {
	t.Helper()
	var out any
	require.NoError(t, yaml.Unmarshal([]byte(text), &out))
	// As a document shows it: maps of strings.
	plain, err := json.Marshal(out)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(plain, &out))
	return out
}

// script writes a program that stands for a runner.
func script(t *testing.T, path, text string) {
	t.Helper()
	require.NoError(t, os.WriteFile(path+".new", []byte("#!/bin/sh\n"+text), 0o755))
	require.NoError(t, os.Rename(path+".new", path))
}

// says is a script that prints a description, and counts in a file that it did.
func says(t *testing.T, dir string, said rpc.Description) string {
	t.Helper()
	text, err := json.Marshal(said)
	require.NoError(t, err)
	file := filepath.Join(dir, fmt.Sprintf("said-%d.json", time.Now().UnixNano()))
	require.NoError(t, os.WriteFile(file, text, 0o600))
	return fmt.Sprintf("echo x >> %s\nexec cat %s\n", filepath.Join(dir, "asked"), file)
}

// asked is how often such a script was run.
func asked(t *testing.T, dir string) int {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "asked"))
	if os.IsNotExist(err) {
		return 0
	}
	require.NoError(t, err)
	return len(text) / 2
}
