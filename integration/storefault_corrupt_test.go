package integration

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// damagedID is found in a state file by its bytes.
const damagedID = "the-one-to-be-damaged"

// TestStoreFaultCorrupt: a supervisor whose state file is damaged refuses to
// start, names the file and leaves it as it is, and the runners of the last
// supervisor too.
func TestStoreFaultCorrupt(t *testing.T) {
	t.Parallel()
	r := newRestartable(t)
	r.start(t, "--on-exit=detach")
	r.expect(t, 200, "POST", "/streams/a", echo("a"))
	r.expect(t, 200, "POST", "/streams/"+damagedID, echo("b"))
	pids := []int{awaitPID(t, r.client, "a"), awaitPID(t, r.client, damagedID)}
	before := definitions(t, r.client)
	r.stop(t)

	state := stateFile(r.DataDir)
	whole, err := os.ReadFile(state)
	require.NoError(t, err)
	for name, damaged := range damages(t, whole) {
		require.NoError(t, os.WriteFile(state, damaged, 0o600))
		code, said := serveToEnd(t, r.Penstock, "--data-dir", r.DataDir, "--runner", r.Runner, "--log-level", "error")
		t.Logf("%s: %s", name, strings.TrimSpace(said))
		assert.Equal(t, 1, code, name)
		assert.Contains(t, said, state, name)
		assert.Contains(t, said, "it was left as it is", name)
		assert.Contains(t, said, "backup", "%s: what to do", name)
		assert.Equal(t, 1, strings.Count(said, "\n"), "%s: one line", name)
		now, err := os.ReadFile(state)
		require.NoError(t, err)
		assert.True(t, bytes.Equal(damaged, now), "%s: the file was changed", name)
		for _, pid := range pids {
			require.Error(t, gone(pid), "%s: a runner", name)
		}
	}

	require.NoError(t, os.WriteFile(state, whole, 0o600))
	r.start(t)
	assert.Equal(t, before, definitions(t, r.client))
	assert.Equal(t, pids, []int{awaitPID(t, r.client, "a"), awaitPID(t, r.client, damagedID)})
	awaitEcho(t, r.client, "/a/post", "a")
	awaitEcho(t, r.client, "/"+damagedID+"/post", "b")
	assert.Len(t, r.runners(), 2)
}

// damages are state files that are not whole any more.
func damages(t *testing.T, whole []byte) map[string][]byte {
	t.Helper()
	changed := func(change func([]byte)) []byte {
		text := bytes.Clone(whole)
		change(text)
		return text
	}
	// Older copies may lie in pages that are free by now: all are changed.
	flipped := func(text string) []byte {
		require.True(t, bytes.Contains(whole, []byte(text)), text)
		other := []byte(text)
		other[0] ^= 0x20
		return bytes.ReplaceAll(whole, []byte(text), other)
	}
	return map[string][]byte{
		"empty":                    {},
		"half of it":               whole[:len(whole)/2],
		"another file":             []byte("this is not a state file\n"),
		"zeros":                    make([]byte, len(whole)),
		"a flipped bit in an id":   flipped(damagedID),
		"a flipped bit in a value": flipped(`info"`),
		"headers that are wiped":   changed(func(b []byte) { clear(b[:2*os.Getpagesize()]) }),
		"a tree that is wiped":     changed(func(b []byte) { clear(b[2*os.Getpagesize():]) }),
	}
}
