package integration

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func linesOf(t testing.TB, path string) []string {
	t.Helper()
	text, err := os.ReadFile(path)
	if !errors.Is(err, os.ErrNotExist) {
		require.NoError(t, err)
	}
	return strings.Fields(string(text))
}

func awaitLines(t testing.TB, path string, count int) {
	t.Helper()
	await(t, time.Minute, fmt.Sprintf("%d lines", count), func() error {
		if got := len(linesOf(t, path)); got < count {
			return fmt.Errorf("there are %d", got)
		}
		return nil
	})
}

// TestInprocOrder: what one stream gives another arrives whole, in its order and
// in its batches, and is the giver's until the taker has written it.
func TestInprocOrder(t *testing.T) {
	t.Parallel()
	const messages = 10_000
	p := startPenstock(t)
	out := filepath.Join(t.TempDir(), "out")
	p.expect(t, 200, "POST", "/streams/from", fmt.Sprintf(`
input: {generate: {count: %d, interval: "", batch_size: 5, mapping: 'root = count("from").string()'}}
output:
  inproc: pipe
  processors: [{mapping: 'meta number = content().number()'}]
`, messages))
	began := time.Now()
	p.expect(t, 200, "POST", "/streams/to", fmt.Sprintf(`
input: {inproc: pipe}
output:
  file: {path: %s, codec: lines}
  processors: [{mapping: 'root = "%%s/%%s/%%s".format(content().string(), batch_size().string(), (@number * 2).string())'}]
`, quoted(out)))
	awaitOver(t, p.client, "from")
	took := time.Since(began)
	lines := linesOf(t, out)
	require.Len(t, lines, messages, "the giver ends when all is written")
	for i, line := range lines {
		require.Equal(t, fmt.Sprintf("%d/5/%d", i+1, 2*(i+1)), line)
	}
	t.Logf("%d messages in batches of 5 from one process to another in %s, %.0f a second", messages, took.Round(time.Millisecond), messages/took.Seconds())
}

// TestInprocBackPressure: without somebody who takes, nothing is taken in.
func TestInprocBackPressure(t *testing.T) {
	t.Parallel()
	p := startPenstock(t)
	p.expect(t, 200, "POST", "/streams/from", `
input: {generate: {interval: "", mapping: 'root = count("pressed").string()'}}
output: {inproc: pipe}
`)
	var before float64
	still := 0
	await(t, soonTimeout, "the stream to stand still", func() error {
		now := received(t, p.client, "from")
		if still++; now < 1024 || now != before {
			still = 0
		}
		before = now
		if still < 50 {
			return fmt.Errorf("it has taken %v", now)
		}
		return nil
	})
	t.Logf("%v messages wait", before)
	assert.LessOrEqual(t, before, 1100.0)
	out := filepath.Join(t.TempDir(), "out")
	p.expect(t, 200, "POST", "/streams/to", "input: {inproc: pipe}\noutput: {file: {path: "+quoted(out)+", codec: lines}}\n")
	awaitLines(t, out, 5000)
}

// TestInprocTakerKilled: what a taker has not written when it dies the next one
// has, and several takers share.
func TestInprocTakerKilled(t *testing.T) {
	t.Parallel()
	const messages = 10_000
	p := startPenstock(t)
	dir := t.TempDir()
	for _, id := range []string{"one", "two"} {
		p.expect(t, 200, "POST", "/streams/"+id, fmt.Sprintf(`
input: {inproc: pipe}
pipeline: {threads: 4, processors: [{sleep: {duration: 200us}}]}
output: {file: {path: %s, codec: lines}}
runtime: {restart: {backoff: {initial: 10ms}}}
`, quoted(filepath.Join(dir, id))))
	}
	// Each with its line's end: the engine writes that by itself otherwise, and a kill
	// between the two would join the line with the next.
	p.expect(t, 200, "POST", "/streams/from", fmt.Sprintf(`
input: {generate: {count: %d, interval: "", mapping: 'root = count("killed").string() + "\n"'}}
output: {inproc: pipe}
`, messages))
	kills := 0
	for _, want := range []int{1000, 3000, 5000, 7000} {
		await(t, time.Minute, fmt.Sprintf("%d messages", want), func() error {
			if got := len(outputs(t, dir)); got < want {
				return fmt.Errorf("there are %d", got)
			}
			return nil
		})
		if want == 5000 {
			endHost(t, p.client, p.runners)
			continue
		}
		await(t, changeTimeout, "a taker to kill", func() error {
			return syscall.Kill(awaitState(t, p.client, "one", "running").PID, syscall.SIGKILL)
		})
		kills++
	}
	awaitOver(t, p.client, "from")
	got, again := outputs(t, dir), 0
	for _, n := range got {
		again += n - 1
	}
	shares := []int{len(linesOf(t, filepath.Join(dir, "one"))), len(linesOf(t, filepath.Join(dir, "two")))}
	t.Logf("%d messages, one of two takers killed %d times and the host once: %d arrived, %d of them again; %v by each", messages, kills, len(got), again, shares)
	require.Len(t, got, messages)
	assert.Less(t, again, messages/2)
	for i := range messages {
		require.Contains(t, got, strconv.Itoa(i+1))
	}
	assert.NotZero(t, shares[0])
	assert.NotZero(t, shares[1])
}

// TestInprocRefused: what the taker refuses is refused to the giver, with the
// reason.
func TestInprocRefused(t *testing.T) {
	t.Parallel()
	answers := map[string]string{}
	for name, c := range map[string]*client{"reference": startReference(t).client, "penstock": startPenstock(t).client} {
		c.expect(t, 200, "POST", "/streams/from", `
input: {http_server: {timeout: 10s}}
output:
  fallback:
    - inproc: pipe
    - sync_response: {}
      processors: [{mapping: 'root = "refused: " + @fallback_error'}]
`)
		c.expect(t, 200, "POST", "/streams/to", "input: {inproc: pipe}\noutput: {reject: 'not with me: ${! content() }'}\n")
		await(t, soonTimeout, "an answer", func() error {
			a, err := refuseNot(c.ask(t.Context(), request{Method: http.MethodPost, Path: "/from/post", Body: "this"}))
			if err == nil && a.Status != 200 {
				err = fmt.Errorf("it answers %s", a)
			}
			answers[name] = a.Text()
			return err
		})
	}
	assert.Equal(t, "refused: not with me: this", answers["penstock"])
	assert.Equal(t, answers["reference"], answers["penstock"])
}
