package runner

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/slogtest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// keysOf are the keys of a JSON object in their order, with repetitions.
func keysOf(t *testing.T, line string) []string {
	t.Helper()
	dec := json.NewDecoder(strings.NewReader(line))
	_, err := dec.Token()
	require.NoError(t, err, line)
	var keys []string
	for dec.More() {
		key, err := dec.Token()
		require.NoError(t, err, line)
		var value any
		require.NoError(t, dec.Decode(&value), line)
		keys = append(keys, key.(string))
	}
	return keys
}

// The engine names a component's path once for each component around it, and a
// stream's own fields may be called like those of the runner.
func TestLinesOfTheEngineHaveUniqueKeys(t *testing.T) {
	p := start(t)
	p.prepare(t, `
input: {generate: {interval: 2ms, mapping: 'root = "x"'}}
pipeline:
  processors:
    - label: chatter
      log:
        message: "a word"
        fields: {path: "mine", other: "interpolated"}
        fields_mapping: 'root = {"level": "LOUD", "stream": "another", "msg": 1, "time": 2, "other": "mapped"}'
    - switch: [{processors: [{log: {message: "a nested word"}}]}]
output: {drop: {}}`)
	require.NoError(t, p.Run(context.Background()))

	found := map[string]string{}
	require.Eventually(t, func() bool {
		text, err := os.ReadFile(filepath.Join(p.logs, "stream.log"))
		for line := range strings.Lines(string(text)) {
			var entry struct{ Msg string }
			if err == nil && json.Unmarshal([]byte(line), &entry) == nil {
				found[entry.Msg] = line
			}
		}
		return found["a word"] != "" && found["a nested word"] != ""
	}, patience, 5*time.Millisecond)

	for message, want := range map[string]map[string]any{
		"a word": {
			"level": "INFO", "msg": "a word", "stream": "s", "path": "mine", "label": "chatter", "custom_source": true, "other": "interpolated",
			"exported_level": "LOUD", "exported_stream": "another", "exported_msg": 1.0, "exported_time": 2.0,
		},
		"a nested word": {
			"level": "INFO", "msg": "a nested word", "stream": "s", "label": "", "custom_source": true,
			"path": "root.pipeline.processors.1.switch.0.processors.0",
		},
	} {
		var entry map[string]any
		require.NoError(t, json.Unmarshal([]byte(found[message]), &entry))
		assert.NotEmpty(t, entry["time"])
		delete(entry, "time")
		assert.Equal(t, want, entry)
		assert.Len(t, keysOf(t, found[message]), len(want)+1, found[message])
	}
}

func TestOfEqualKeysTheLastCounts(t *testing.T) {
	var out bytes.Buffer
	root := slog.New(newUniqueKeys(slog.NewJSONHandler(&out, nil), "s", &lastError{}))
	line := func() string {
		defer out.Reset()
		_, attrs, _ := strings.Cut(strings.TrimSuffix(out.String(), "\n"), `,"stream":"s"`)
		return attrs
	}
	outer := root.With("path", "a", "x", 1)
	inner := outer.With("path", "b")

	inner.Info("m")
	assert.Equal(t, `,"path":"b","x":1}`, line())
	outer.Info("m")
	assert.Equal(t, `,"path":"a","x":1}`, line(), "a logger is not changed by those made of it")
	outer.Info("m", "y", 2, "path", "c", "y", 3)
	assert.Equal(t, `,"path":"c","x":1,"y":3}`, line())
	outer.Info("m", slog.Group("", "x", 2, "z", 3), "stream", "t")
	assert.Equal(t, `,"path":"a","x":2,"z":3,"exported_stream":"t"}`, line())
	outer.WithGroup("g").With("path", "b", "level", 1).Info("m", "path", "c")
	assert.Equal(t, `,"path":"a","x":1,"g":{"path":"c","level":1}}`, line(), "a group has keys of its own")
}

func TestUniqueKeysIsAHandler(t *testing.T) {
	var out bytes.Buffer
	slogtest.Run(t, func(*testing.T) slog.Handler {
		out.Reset()
		return newUniqueKeys(slog.NewJSONHandler(&out, nil), "s", &lastError{})
	}, func(t *testing.T) map[string]any {
		var entry map[string]any
		require.NoError(t, json.Unmarshal(out.Bytes(), &entry))
		return entry
	})
}

// BenchmarkLogger logs as a component does whose lines have fields of their
// own; one of these repeats a key.
func BenchmarkLogger(b *testing.B) {
	plain := slog.NewJSONHandler(io.Discard, nil)
	for name, h := range map[string]slog.Handler{
		"plain": plain.WithAttrs([]slog.Attr{slog.String("stream", "s")}), "unique": newUniqueKeys(plain, "s", &lastError{}),
	} {
		log := slog.New(h).With("path", "root.pipeline").With("label", "").With("path", "root.pipeline.processors.0")
		b.Run(name+"/without fields", func(b *testing.B) {
			for b.Loop() {
				log.Info("a message of no particular length that says something")
			}
		})
		b.Run(name+"/with fields", func(b *testing.B) {
			for b.Loop() {
				log.With("id", "17").With("path", "mine").Info("a message of no particular length that says something")
			}
		})
	}
}
