package integration

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	// fileLimit bounds what a stream's log, or its output, takes on the disk: a
	// file of 8 MiB and the one before it. Each may be longer by a line.
	fileLimit = 2*8<<20 + 64<<10
	// floodBytes is how much the flooding stream writes to each.
	floodBytes = 40 << 20
	// floodGrowth is how much resident memory the supervisor may take for it.
	floodGrowth = 64 << 20
)

// floodYAML logs and prints 10 MB a second each.
const floodYAML = `
input: {generate: {interval: 1ms, batch_size: 10, mapping: 'root = "%s"'}}
pipeline: {processors: [{log: {level: INFO, message: '${! content() }'}}]}
output: {stdout: {}}
`

// TestLogsFlood: a stream that spams hurts nobody else. Its files stay within
// their bounds, whoever follows them, and whether that one reads or not.
func TestLogsFlood(t *testing.T) {
	p := startPenstock(t, "--log-level", "info")
	ids := []string{"a", "b", "c"}
	for _, id := range ids {
		p.expect(t, 200, "POST", "/streams/"+id, echo(id))
	}
	measure := func(during func()) summary {
		requests := newLoad(t)
		for _, id := range ids {
			requests.echo(p.Base, id, id, 5*time.Millisecond)
		}
		during()
		return requests.sum()
	}
	quiet := measure(func() { time.Sleep(2 * time.Second) })
	before := residentMemory(t, p.PID)

	p.expect(t, 200, "POST", "/streams/flood", fmt.Sprintf(floodYAML, strings.Repeat("x", 1000)))
	pid := mustStatus(t, p.client, "flood").PID
	reader := openLog(t, p.client, "/streams/flood/logs?follow=true&format=ndjson", "")
	go func() {
		for range reader.lines {
			// As fast as they come.
		}
	}()
	deaf := dialWire(t, p.client)
	deaf.send(t, "GET /streams/flood/logs?follow=true HTTP/1.1\r\nHost: x\r\n\r\n")
	var largest [2]int64
	var wrote int64
	began := time.Now()
	flooded := measure(func() {
		await(t, time.Minute, "the flood", func() error {
			for i, name := range []string{"stream", "output"} {
				size, err := sizeOf(filepath.Join(p.DataDir, "streams", "flood"), name)
				if err != nil {
					return err
				}
				largest[i] = max(largest[i], size)
			}
			var err error
			// What is printed is written twice: to the pipe, and from it.
			if wrote, err = written(pid); err == nil && wrote < 3*floodBytes {
				err = fmt.Errorf("%d bytes were written", wrote)
			}
			return err
		})
	})
	took := time.Since(began)
	grown := residentMemory(t, p.PID) - before
	t.Logf("quiet: %s; flooded: %s", quiet, flooded)
	t.Logf("%d MB in %s, %.1f MB/s; the files took %d and %d bytes at most; the supervisor took %d kB more",
		wrote>>20, took.Round(time.Millisecond), float64(wrote)/1e6/took.Seconds(), largest[0], largest[1], grown>>10)
	assert.Empty(t, flooded.Failures, "requests to the other streams")
	assert.Positive(t, flooded.Count)
	// A slice of the CPU is what it takes from others, as any process does.
	assert.Less(t, flooded.P99, max(20*quiet.P99, 500*time.Millisecond))
	for i, size := range largest {
		assert.Greater(t, size, int64(8<<20), "file %d was rotated", i)
		assert.LessOrEqual(t, size, int64(fileLimit), "file %d", i)
	}
	assert.Less(t, grown, int64(floodGrowth))
	assert.Equal(t, pid, mustStatus(t, p.client, "flood").PID)
	assert.Equal(t, http.StatusOK, p.call(t, "GET", "/streams/flood/logs?tail=5", "").Status)
	p.expect(t, 200, "DELETE", "/streams/flood", "")
	assert.NoDirExists(t, filepath.Join(p.DataDir, "streams", "flood"))
}

// sizeOf sums up the files of a log, the present one and the older ones.
func sizeOf(dir, name string) (sum int64, err error) {
	files, err := filepath.Glob(filepath.Join(dir, name+"*.log"))
	if err != nil {
		return 0, err
	}
	for _, file := range files {
		// One that is being rotated away counts next time.
		if info, err := os.Stat(file); err == nil {
			sum += info.Size()
		}
	}
	return sum, nil
}

// written is how many bytes a process has written so far.
func written(pid int) (int64, error) { return procFigure(pid, "io", "wchar:") }

// residentMemory is a process's, in bytes.
func residentMemory(t *testing.T, pid int) int64 {
	t.Helper()
	kB, err := procFigure(pid, "status", "VmRSS:")
	require.NoError(t, err)
	return kB << 10
}

// procFigure reads one figure of a file in /proc.
func procFigure(pid int, file, name string) (int64, error) {
	text, err := os.ReadFile(procFile(pid, file))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == name {
			return strconv.ParseInt(f[1], 10, 64)
		}
	}
	return 0, fmt.Errorf("%s of process %d has no %s", file, pid, name)
}
