package integration

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// indexEnv, when "1", has the test write the index that it else compares.
const indexEnv = "PENSTOCK_WRITE_INDEX"

// indexFile is what the supervisor knows of runners that are not installed.
var indexFile = filepath.Join("..", "supervisor", "catalogue", "index.json")

// runnerNames are the components of a runner, by their class.
type runnerNames struct {
	Name       string              `json:"name"`
	Components map[string][]string `json:"components"`
}

// TestTheIndexIsWhatTheRunnersSay asks the built runners. Which are the project's
// own is what there is below cmd.
func TestTheIndexIsWhatTheRunnersSay(t *testing.T) {
	core := allRunners(t)
	dirs, err := filepath.Glob(filepath.Join("..", "cmd", "penstock-runner-*"))
	require.NoError(t, err)
	require.Len(t, dirs, len(otherRunners), "a runner that these tests do not build")

	says := func(binary string) map[string][]string {
		out, err := exec.Command(binary, "--describe").Output()
		require.NoError(t, err)
		var said struct {
			Components []struct{ Type, Name string }
			Drivers    []string
		}
		require.NoError(t, json.Unmarshal(out, &said))
		names := map[string][]string{}
		for _, c := range said.Components {
			names[c.Type] = append(names[c.Type], c.Name)
		}
		if len(said.Drivers) > 0 {
			names["SQL driver"] = said.Drivers
		}
		return names
	}
	var want struct {
		Runners []runnerNames `json:"runners"`
	}
	size := func(names map[string][]string) (n int) {
		for _, of := range names {
			n += len(of)
		}
		return n
	}
	smaller := says(core)
	for _, name := range otherRunners {
		names := says(core + "-" + name)
		for class, of := range smaller {
			assert.Subset(t, names[class], of, "what a smaller runner has as %s, %s has too", class, name)
		}
		assert.Greater(t, size(names), size(smaller))
		t.Logf("%s: %d components", name, size(names))
		want.Runners = append(want.Runners, runnerNames{name, names})
		smaller = names
	}
	text, err := json.Marshal(want)
	require.NoError(t, err)
	text = append(text, '\n')
	if os.Getenv(indexEnv) == "1" {
		require.NoError(t, os.WriteFile(indexFile, text, 0o644))
	}
	have, err := os.ReadFile(indexFile)
	require.NoError(t, err)
	assert.JSONEq(t, string(text), string(have), "write it anew: %s=1 go test ./integration -run %s", indexEnv, t.Name())
	assert.Less(t, len(have), 16<<10, "names only")
}
