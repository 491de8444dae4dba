package integration

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestBench runs the benchmark for a few seconds, and has it write its report.
// Its figures mean little then; that it measures everything, and cleans up, is
// what counts.
func TestBench(t *testing.T) {
	t.Parallel()
	require.NoError(t, build(workDir, nil, "penstock/integration/bench"))
	// A short path, since sockets are made below it.
	temp, err := os.MkdirTemp("", "pb-")
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, os.RemoveAll(temp)) })
	results := t.TempDir()
	file, document := filepath.Join(results, "figures.json"), filepath.Join(results, "latest.md")
	require.NoError(t, os.WriteFile(document, []byte(readRepo(t, "docs/benchmarks.md")), 0o600))
	cmd := exec.CommandContext(t.Context(), filepath.Join(workDir, "bench"), "-short", "-json", file, "-report", document)
	cmd.Env = append(os.Environ(), "TMPDIR="+temp)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	require.NoError(t, cmd.Run(), "%s", &stderr)
	t.Logf("\n%s", &stdout)

	type row struct {
		Measure string
		First   float64
		Second  *float64
		Ratio   *float64
	}
	var figures struct {
		Machine  struct{ Cores int }
		Answered int
		Rows     []row
		Goals    []struct {
			Number      int
			Measure     string
			NotMeasured string `json:"not_measured"`
		}
		Sections []struct {
			Name string
			Rows []row
		}
		Recovery []row
		Fleet    []row
		Control  []row
		Noise    struct {
			LeftOut string `json:"left_out"`
			Rows    []struct {
				Setup, Neighbours string
				P99               float64 `json:"p99_ms"`
				Ratio             float64
			}
		}
		Cost struct {
			LeftOut string `json:"left_out"`
			Rows    []struct {
				Measure string
				None    float64
				Others  []struct {
					Profile string
					Value   float64
				}
			}
		}
	}
	require.NoError(t, json.Unmarshal([]byte(readText(t, file)), &figures))
	assert.Positive(t, figures.Machine.Cores)
	assert.Positive(t, figures.Answered)
	for name, rows := range map[string][]row{"recovery": figures.Recovery, "fleet": figures.Fleet, "control": figures.Control} {
		assert.NotEmpty(t, rows, name)
	}
	var measures strings.Builder
	for _, r := range slices.Concat(figures.Rows, figures.Recovery, figures.Fleet, figures.Control) {
		measures.WriteString(r.Measure + "\n")
		assert.Positive(t, r.First, r.Measure)
		assert.Equal(t, r.Second == nil, r.Ratio == nil, r.Measure)
		if r.Ratio != nil {
			assert.Positive(t, *r.Second, r.Measure)
			assert.Positive(t, *r.Ratio, r.Measure)
		}
		assert.Contains(t, stdout.String(), r.Measure)
	}
	for _, word := range []string{"create", "p50", "p99", "PSS", "requests", "CPU", "SIGKILL", "adopted", "scrape"} {
		assert.Contains(t, measures.String(), word, "what `make bench` is to print")
	}

	// Each goal is there, and each section with a table of its own.
	numbers, sections := map[int]bool{}, map[string]bool{}
	for _, g := range figures.Goals {
		numbers[g.Number] = true
		assert.Contains(t, stdout.String(), fmt.Sprintf("| %d | %s |", g.Number, g.Measure))
		if g.NotMeasured != "" {
			assert.Contains(t, stdout.String(), "not measured: "+g.NotMeasured)
		}
		// What every server knows is measured everywhere.
		needed := slices.Contains([]int{3, 5, 6, 7, 8, 9, 10, 11}, g.Number) || g.Number == 1 && os.Geteuid() == 0
		assert.False(t, needed && g.NotMeasured != "", "%s: %s", g.Measure, g.NotMeasured)
	}
	for n := range 11 {
		assert.True(t, numbers[n+1], "goal %d", n+1)
	}
	for _, s := range figures.Sections {
		sections[s.Name] = true
		assert.NotEmpty(t, s.Rows, s.Name)
		for _, r := range s.Rows {
			assert.Contains(t, stdout.String(), "| "+r.Measure+" |")
		}
	}
	for _, name := range []string{"create", "bodies", "update", "engine", "thousand"} {
		assert.True(t, sections[name], name)
	}
	assert.Contains(t, readText(t, document), stdout.String(), "the document has what was printed")
	for _, plot := range []string{"goals", "create", "requests", "thousand"} {
		assert.Contains(t, readText(t, document), "(latest/"+plot+".svg)")
		assert.FileExists(t, filepath.Join(results, "latest", plot+".svg"))
	}

	setups, profiles := 3, []string{"standard", "strict"}
	if os.Geteuid() != 0 {
		setups, profiles = 2, []string{"standard"}
	}
	for _, left := range []string{figures.Noise.LeftOut, figures.Cost.LeftOut} {
		assert.Equal(t, os.Geteuid() == 0, left == "", left)
		assert.Contains(t, stdout.String(), left)
	}
	const crowds = 5 // nobody, three neighbours, and these together
	assert.Len(t, figures.Noise.Rows, setups*crowds)
	for _, r := range figures.Noise.Rows {
		assert.Positive(t, r.P99, "%s, beside %s", r.Setup, r.Neighbours)
		assert.Positive(t, r.Ratio, "%s, beside %s", r.Setup, r.Neighbours)
		assert.Contains(t, stdout.String(), "- "+r.Setup+": at worst ")
		assert.Contains(t, stdout.String(), "| "+r.Neighbours+" |")
	}
	assert.NotEmpty(t, figures.Cost.Rows)
	for _, r := range figures.Cost.Rows {
		assert.Positive(t, r.None, r.Measure)
		assert.Contains(t, stdout.String(), "| "+r.Measure+" |")
		var names []string
		for _, p := range r.Others {
			assert.Positive(t, p.Value, "%s of %s", r.Measure, p.Profile)
			names = append(names, p.Profile)
		}
		assert.Equal(t, profiles, names, r.Measure)
	}

	assert.Empty(t, mentioning(temp), "processes that outlived the benchmark")
	left, err := os.ReadDir(temp)
	require.NoError(t, err)
	assert.Empty(t, left, "files that outlived the benchmark")
}
