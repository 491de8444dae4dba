package logs

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestLineAsTextAndJSON(t *testing.T) {
	const record = `{"time":"2026-11-21T10:00:00.5Z","level":"WARN","msg":"Input lost","stream":"a","n":3,"err":"no \"route\" x=1","nested":{"a":[1, 2]},"empty":"","on":true}`
	for name, c := range map[string]struct {
		line Line
		text string
		json string
	}{
		"record": {
			Line{source: SourceLog, text: []byte(record)},
			`2026-11-21T10:00:00.5Z WARN  Input lost stream=a n=3 err="no \"route\" x=1" nested={"a":[1, 2]} empty="" on=true`,
			record,
		},
		"a record of no fields": {Line{source: SourceLog, text: []byte(`{}`)}, ``, `{}`},
		"a message of two lines": {
			Line{source: SourceLog, text: []byte(`{"level":"INFO","msg":"a\nb\u001b[31m","k":"c\nd"}`)},
			`INFO  a\nb\x1b[31m k="c\nd"`, `{"level":"INFO","msg":"a\nb\u001b[31m","k":"c\nd"}`,
		},
		"torn record":       {Line{source: SourceLog, text: []byte(`{"time":"20`)}, `{"time":"20`, `{"source":"log","msg":"{\"time\":\"20"}`},
		"not an object":     {Line{source: SourceLog, text: []byte(`[1]`)}, `[1]`, `{"source":"log","msg":"[1]"}`},
		"output":            {Line{source: SourceOutput, text: []byte("héllo\t<b>\r")}, "héllo\t<b>", `{"source":"output","msg":"héllo\t<b>"}`},
		"output of JSON":    {Line{source: SourceOutput, text: []byte(`{"a":1}`)}, `{"a":1}`, `{"source":"output","msg":"{\"a\":1}"}`},
		"output of escapes": {Line{source: SourceOutput, text: []byte("a\x1b[2J\xff\x00")}, `a\x1b[2J` + "\uFFFD" + `\x00`, `{"source":"output","msg":"a\u001b[2J` + "\uFFFD" + `\u0000"}`},
		"cut":               {Line{source: SourceLog, text: []byte(`{"msg":"aa`), cut: 12}, `{"msg":"aa… (12 bytes cut)`, `{"source":"log","msg":"{\"msg\":\"aa… (12 bytes cut)"}`},
		"empty":             {Line{source: SourceOutput}, ``, `{"source":"output","msg":""}`},
	} {
		t.Run(name, func(t *testing.T) {
			assert.Equal(t, c.text, c.line.Text())
			assert.Equal(t, c.json, string(c.line.JSON()))
			assert.True(t, json.Valid(c.line.JSON()))
			assert.False(t, bytes.ContainsRune(c.line.JSON(), '\n'))
		})
	}
}

func TestARecordThatIsNotUTF8IsGivenAsUTF8(t *testing.T) {
	line := Line{source: SourceLog, text: []byte("{\"msg\":\"\xff\"}")}
	assert.Equal(t, "{\"msg\":\"\uFFFD\"}", string(line.JSON()))
}

func TestLevels(t *testing.T) {
	cut := `{"time":"x","level":"ERROR","msg":"` + strings.Repeat("y", 100)
	for name, c := range map[string]struct {
		line  Line
		level slog.Level
		known bool
	}{
		"info":           {Line{source: SourceLog, text: []byte(`{"level":"INFO"}`)}, slog.LevelInfo, true},
		"between":        {Line{source: SourceLog, text: []byte(`{"level":"DEBUG-4"}`)}, slog.LevelDebug - 4, true},
		"not known":      {Line{source: SourceLog, text: []byte(`{"level":"LOUD"}`)}, 0, false},
		"not a text":     {Line{source: SourceLog, text: []byte(`{"level":4}`)}, 0, false},
		"none":           {Line{source: SourceLog, text: []byte(`{"msg":"x"}`)}, 0, false},
		"as slog writes": {Line{source: SourceLog, text: []byte(`{"time":"2026-11-21T10:00:00Z","level":"ERROR","msg":"x","level":"INFO"}`)}, slog.LevelError, true},
		"in another key": {Line{source: SourceLog, text: []byte(`{"msg":"{\"level\":\"WARN\"","a":{"level":"WARN"}}`)}, 0, false},
		"torn and glued": {Line{source: SourceLog, text: []byte(`{"time":"2","level":"DEBUG","msg":"x{"time":"2","level":"ERROR","msg":"x"}`)}, 0, false},
		"torn":           {Line{source: SourceLog, text: []byte(`{"level":"WARN","msg`)}, 0, false},
		"plain":          {Line{source: SourceLog, text: []byte(`level=WARN`)}, 0, false},
		"output":         {Line{source: SourceOutput, text: []byte(`{"level":"INFO"}`)}, 0, false},
		"cut":            {Line{source: SourceLog, text: []byte(cut), cut: 9}, slog.LevelError, true},
		"cut before it":  {Line{source: SourceLog, text: []byte(`{"msg":"` + strings.Repeat("y", 100)), cut: 9}, 0, false},
		"cut at nothing": {Line{source: SourceLog, text: []byte(`{`), cut: 9}, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			level, known := c.line.level()
			assert.Equal(t, c.known, known)
			assert.Equal(t, c.level, level)
		})
	}
}

func TestQueriesThatAreWrongSayWhatIsRight(t *testing.T) {
	for name, c := range map[string]struct {
		query Query
		says  string
	}{
		"tail":            {Query{Tail: -2}, "tail is -2: give a number of lines, or -1 for all"},
		"source":          {Query{Source: "x"}, `source "x" is not known: give "log" or "output"`},
		"level":           {Query{Level: "loud"}, `level "loud" is not known: give debug, info, warn or error`},
		"level of output": {Query{Level: "warn", Source: SourceOutput}, `level is "warn", but lines of the source "output" have none: leave level out`},
	} {
		t.Run(name, func(t *testing.T) {
			require.EqualError(t, c.query.Validate(), c.says)
			_, err := Open(t.TempDir(), c.query)
			require.EqualError(t, err, c.says)
		})
	}
	for _, q := range []Query{{}, {Tail: -1, Level: "WARN"}, {Source: SourceOutput}, {Source: SourceLog, Level: "debug"}} {
		assert.NoError(t, q.Validate())
	}
}
