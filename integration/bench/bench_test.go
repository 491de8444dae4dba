package main

import (
	"bufio"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestReadAnswer(t *testing.T) {
	const good = "HTTP/1.1 200 OK\r\nServer: x\r\ncontent-length: 2\r\n\r\nok"
	for name, c := range map[string]struct{ text, body, err string }{
		"good":         {text: good, body: "ok"},
		"empty":        {text: "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"},
		"other status": {text: "HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno", err: "404"},
		"no length":    {text: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", err: "length was -1"},
		"bad length":   {text: "HTTP/1.1 200 OK\r\nContent-Length: two\r\n\r\nok", err: "two"},
		"huge":         {text: "HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\nok", err: "at most"},
		"cut body":     {text: good[:len(good)-1], err: io.ErrUnexpectedEOF.Error()},
		"cut head":     {text: good[:20], err: io.EOF.Error()},
	} {
		t.Run(name, func(t *testing.T) {
			body, err := readAnswer(bufio.NewReader(strings.NewReader(c.text)), nil)
			if c.err != "" {
				require.ErrorContains(t, err, c.err)
				return
			}
			require.NoError(t, err)
			assert.Equal(t, c.body, string(body))
		})
	}
}

func TestReadAnswerLeavesTheNextOne(t *testing.T) {
	r := bufio.NewReader(strings.NewReader(strings.Repeat("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 2)))
	for range 2 {
		body, err := readAnswer(r, nil)
		require.NoError(t, err)
		assert.Equal(t, "ok", string(body))
	}
}

func TestParseStat(t *testing.T) {
	got, err := parseStat([]byte("12 (a) b (c)) S 7 12 12 0 -1 4194560 1 0 0 0 150 25 0 0 20 0 8 0 99 0 0"))
	require.NoError(t, err)
	assert.Equal(t, stat{parent: 7, cpu: 1750 * time.Millisecond}, got)
	_, err = parseStat([]byte("12 (a) S 7"))
	assert.Error(t, err)
}

func TestParseRollup(t *testing.T) {
	got, err := parseRollup("400000-7ff000 ---p 00000000 00:00 0 [rollup]\nRss: 900 kB\nPss: 500 kB\nPss_Anon: 400 kB\nPrivate_Clean: 100 kB\nPrivate_Dirty: 300 kB\n")
	require.NoError(t, err)
	assert.Equal(t, memory{PSS: 500 << 10, Private: 400 << 10}, got)
	_, err = parseRollup("")
	assert.Error(t, err)
}

func TestPercentile(t *testing.T) {
	values := []float64{5, 1, 4, 2, 3}
	assert.InDelta(t, 3, percentile(values, 0.5), 0)
	assert.InDelta(t, 5, percentile(values, 0.99), 0)
	assert.InDelta(t, 1, percentile(values, 0.2), 0)
	assert.InDelta(t, 3, median(values), 0)
	assert.InDelta(t, 2.5, median(values[1:]), 0)
	assert.Equal(t, []float64{5, 1, 4, 2, 3}, values, "the values keep their order")
}

func TestOptions(t *testing.T) {
	got, err := parseOptions([]string{"-short", "-rounds", "4"}, io.Discard)
	require.NoError(t, err)
	want := short
	want.Rounds = 4
	assert.Equal(t, want, got)

	got, err = parseOptions([]string{"-only", "noise|^cost", "-short"}, io.Discard)
	require.NoError(t, err)
	chosen, err := got.chosen()
	require.NoError(t, err)
	require.Len(t, chosen, 2)
	assert.Equal(t, "noise", chosen[0].name)
	assert.Equal(t, "cost", chosen[1].name)

	for _, args := range [][]string{{"-rounds", "0"}, {"-noise", "0"}, {"-what"}, {"stray"}, {"-only", "noise,"}, {"-only", "nothing"}, {"-only", "("}} {
		_, err := parseOptions(args, io.Discard)
		assert.Error(t, err, "%v", args)
	}
}
