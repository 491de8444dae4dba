package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	// hostileTableEnv, when "1", has TestHostileReference measure and write.
	hostileTableEnv = "PENSTOCK_HOSTILE_TABLE"
	// hostileTable is the page that it writes.
	hostileTable = "../docs/hostile.md"
	// hostileTextLimit bounds a cell of it.
	hostileTextLimit = 240
)

const hostilePage = `# Hostile configs

A stream's config is a program by somebody else. Each of the %d configs in
[integration/hostile](../integration/hostile) tries something that no tenant
should be able to do; its file says what, and what has to come of it.

    go test ./integration -run 'TestHostile$'

runs all of them on every change under the profile strict, six at a time, beside
canary files, services on loopback addresses, a metadata service, unix sockets,
and a stream next to them that is called every 20 ms. For every row of the third
column holds, besides what it says: no secret was seen in any answer, log, figure
or file; no file of the host was opened; nobody was reached; every request of the
stream next to it succeeded; and of the GETs of the list of streams, of that
stream's status and of the attacker's 99 in 100 were answered within 100 ms, the
waits for a CPU left out; on a machine with nothing else to do, all of them.

The fourth column is the engine's own streams mode, the same version, with the
same config. It is measured now and then, since that takes a quarter of an hour:

    PENSTOCK_HOSTILE_TABLE=1 go test ./integration -run TestHostileReference -timeout 1h

which writes this page. The process is that of an ordinary user without any
privilege, with one core, 512 MiB of memory, 512 threads, a /tmp of 64 MiB, and
three other streams; it is started anew for each config, which has 4 seconds.
/host is the folder of the canaries, of which one is only root's to read. What the
process could not do, it was not privileged to. The runtime: block is left out.

Each stream of the third column has %s.
Where a name has one star the operator allows all components and functions, so
that the kernel alone is in the way; where it has two, the programs sh, ln and
mkfifo as well.

| config | it tries to | Penstock, strict | the engine's streams mode |
|---|---|---|---|
`

// TestHostileTable: every config has a row in the table, and no other has.
func TestHostileTable(t *testing.T) {
	page, err := os.ReadFile(hostileTable)
	require.NoError(t, err, "write it with %s=1", hostileTableEnv)
	var rows, names []string
	for _, row := range regexp.MustCompile(`(?m)^\| \[([^\]]+)\]`).FindAllStringSubmatch(string(page), -1) {
		rows = append(rows, row[1])
	}
	files, err := filepath.Glob(filepath.Join(hostileDir, "*.yaml"))
	require.NoError(t, err)
	for _, file := range files {
		names = append(names, strings.TrimSuffix(filepath.Base(file), ".yaml"))
	}
	slices.Sort(names)
	assert.Equal(t, names, rows)
}

// TestHostileReference runs every hostile config in Penstock and in the
// reference, and writes the table. It takes a quarter of an hour, and is there
// for whoever changes the configs.
func TestHostileReference(t *testing.T) {
	if os.Getenv(hostileTableEnv) != "1" {
		return
	}
	needRoot(t)
	configs := hostileConfigs(t)
	rows := map[string][2]string{}
	t.Run("penstock", func(t *testing.T) {
		world := newHostileWorld(t)
		targets := newTargets(t, world)
		for name, result := range attackAll(t, world, targets, configs) {
			require.NoError(t, result.err, name)
			rows[name] = [2]string{result.told}
		}
		for _, s := range targets {
			s.held(t, world)
		}
		require.Empty(t, world.found())
	})
	require.False(t, t.Failed())
	for _, h := range configs {
		t.Run(h.Name, func(t *testing.T) {
			row := rows[h.Name]
			row[1] = referenceOutcome(t, h)
			t.Logf("%s\n\tpenstock:  %s\n\treference: %s", h.Tries, row[0], row[1])
			rows[h.Name] = row
		})
	}
	if os.Getenv(hostileEnv) != "" {
		t.Log("of all configs only some were measured: the page stays as it is")
		return
	}
	var page strings.Builder
	fmt.Fprintf(&page, hostilePage, len(configs), "128 MiB of memory, 0.4 cores, 96 threads, 256 open files and 32 MiB on the disk")
	marks := map[string]string{hostileComponents: ` \*`, hostilePrograms: ` \*\*`}
	for _, h := range configs {
		fmt.Fprintf(&page, "| [%s](../integration/hostile/%s.yaml)%s | %s | %s | %s |\n", h.Name, h.Name, marks[h.Allowed],
			cell(h.Tries), cell(rows[h.Name][0]), cell(rows[h.Name][1]))
	}
	require.NoError(t, os.WriteFile(hostileTable, []byte(page.String()), 0o600))
}

// cell is a text as a cell of a table.
func cell(text string) string {
	text = strings.Map(func(r rune) rune {
		if r < ' ' {
			return ' '
		}
		return r
	}, text)
	if cut := []rune(text); len(cut) > hostileTextLimit {
		text = string(cut[:hostileTextLimit]) + "…"
	}
	return strings.ReplaceAll(strings.ReplaceAll(text, `\`, `\\`), "|", `\|`)
}

// mask puts names in the place of what is another at each run.
func (w *hostileWorld) mask(text string, words []string) string {
	pairs := []string{w.dir, "/host"}
	for i := 0; i+1 < len(words); i += 2 {
		if name := strings.Trim(words[i], "{}"); slices.Contains([]string{"data", "neighbour_socket"}, name) && words[i+1] != "/tmp" {
			pairs = append(pairs, words[i+1], "/"+name)
		}
	}
	for _, name := range []string{"loopback", "udp", "abstract"} {
		pairs = append(pairs, w.words[name], strings.ToUpper(name))
	}
	return logTime.ReplaceAllString(strings.NewReplacer(pairs...).Replace(text), "")
}

// logTime begins a line of a log.
var logTime = regexp.MustCompile(`\d{4}-\d\d-\d\dT[\d:.]+Z +`)
