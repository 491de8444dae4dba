package logs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	older = "stream-2026-11-21T09-59-59.999.log"
	old   = "stream-2026-11-21T10-00-00.000.log"
)

// put writes files below a new folder, and returns the folder.
func put(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	// Nobody is still writing them.
	ago := time.Now().Add(-time.Minute)
	for name, text := range files {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
		require.NoError(t, os.Chtimes(filepath.Join(dir, name), ago, ago))
	}
	return dir
}

func open(t *testing.T, dir string, q Query) *Reader {
	t.Helper()
	r, err := Open(dir, q)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, r.Close()) })
	return r
}

// soon bounds a test's waiting.
func soon(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// next returns the following lines' text.
func next(t *testing.T, r *Reader, n int) []string {
	t.Helper()
	var out []string
	for range n {
		line, err := r.Next(soon(t))
		require.NoError(t, err)
		out = append(out, line.Text())
	}
	return out
}

// rest returns the text of all lines up to io.EOF.
func rest(t *testing.T, r *Reader) []string {
	t.Helper()
	out := []string{}
	for {
		line, err := r.Next(soon(t))
		if errors.Is(err, io.EOF) {
			return out
		}
		require.NoError(t, err)
		out = append(out, line.Text())
	}
}

func TestReadingWithoutFollow(t *testing.T) {
	record := func(level, msg string) string { return fmt.Sprintf(`{"level":%q,"msg":%q}`+"\n", level, msg) }
	mixed := map[string]string{
		old:          record("ERROR", "1") + record("INFO", "2") + "torn{",
		"stream.log": record("DEBUG", "3") + "\n" + record("WARN", "4") + record("INFO", "5"),
	}
	for name, c := range map[string]struct {
		files map[string]string
		query Query
		want  []string
	}{
		"all":                   {map[string]string{older: "1\n", old: "2\n", "stream.log": "3\n4\n"}, Query{Tail: -1}, []string{"1", "2", "3", "4"}},
		"none":                  {map[string]string{"stream.log": "1\n2"}, Query{}, []string{}},
		"last":                  {map[string]string{old: "1\n", "stream.log": "2\n3\n"}, Query{Tail: 1}, []string{"3"}},
		"current":               {map[string]string{old: "1\n", "stream.log": "2\n3\n"}, Query{Tail: 2}, []string{"2", "3"}},
		"across":                {map[string]string{old: "0\n1\n", "stream.log": "2\n3\n"}, Query{Tail: 3}, []string{"1", "2", "3"}},
		"more than there are":   {map[string]string{old: "0\n1\n", "stream.log": "2\n3\n"}, Query{Tail: 9}, []string{"0", "1", "2", "3"}},
		"half-written":          {map[string]string{"stream.log": "1\n2\n3"}, Query{Tail: 2}, []string{"2", "3"}},
		"one half-written":      {map[string]string{"stream.log": "1"}, Query{Tail: 1}, []string{"1"}},
		"torn at a file's end":  {map[string]string{old: "1\n2", "stream.log": "3\n"}, Query{Tail: 2}, []string{"2", "3"}},
		"only an older file":    {map[string]string{old: "1\n2\n"}, Query{Tail: 1}, []string{"2"}},
		"empty lines":           {map[string]string{"stream.log": "\n\n1\n\n"}, Query{Tail: 3}, []string{"", "1", ""}},
		"other files":           {map[string]string{"stream-x.log": "0\n", "output.log": "0\n", "stream.log.gz": "0\n", "stream-2026-11-21T10-00-00.000.txt": "0\n", "stream.log": "1\n"}, Query{Tail: -1}, []string{"1"}},
		"nothing":               {nil, Query{Tail: 5}, []string{}},
		"empty":                 {map[string]string{"stream.log": ""}, Query{Tail: 5}, []string{}},
		"output":                {map[string]string{"output.log": "a\nb\n"}, Query{Tail: 1, Source: SourceOutput}, []string{"b"}},
		"output over two files": {map[string]string{"output-2026-11-21T10-00-00.000.log": "a\nb", "output.log": "c\nd\n"}, Query{Tail: 2, Source: SourceOutput}, []string{"bc", "d"}},
		"all output":            {map[string]string{"output-2026-11-21T10-00-00.000.log": "a\nb", "output.log": "c\nd\n"}, Query{Tail: -1, Source: SourceOutput}, []string{"a", "bc", "d"}},
		"all levels":            {mixed, Query{Tail: -1}, []string{"ERROR 1", "INFO  2", "torn{", "DEBUG 3", "", "WARN  4", "INFO  5"}},
		"warn":                  {mixed, Query{Tail: -1, Level: "warn"}, []string{"ERROR 1", "torn{", "", "WARN  4"}},
		"last of warn":          {mixed, Query{Tail: 4, Level: "warn"}, []string{"ERROR 1", "torn{", "", "WARN  4"}},
		"last three of warn":    {mixed, Query{Tail: 3, Level: "warn"}, []string{"torn{", "", "WARN  4"}},
		"last of error":         {mixed, Query{Tail: 1, Level: "error"}, []string{""}},
	} {
		t.Run(name, func(t *testing.T) {
			r := open(t, put(t, c.files), c.query)
			assert.Equal(t, c.want, rest(t, r))
			_, err := r.Next(soon(t))
			assert.Equal(t, io.EOF, err)
		})
	}
	t.Run("no folder", func(t *testing.T) {
		assert.Empty(t, rest(t, open(t, filepath.Join(t.TempDir(), "none"), Query{Tail: 3})))
	})
	t.Run("not a folder", func(t *testing.T) {
		dir := put(t, map[string]string{"x": ""})
		_, err := Open(filepath.Join(dir, "x"), Query{})
		assert.ErrorIs(t, err, syscall.ENOTDIR)
		_, err = Open(filepath.Join(dir, "x"), Query{Follow: true})
		assert.ErrorIs(t, err, syscall.ENOTDIR)
	})
}

// A tail must be the end of what reading everything gives, whatever the lines
// and wherever blocks and files end.
func TestATailIsTheEndOfTheWhole(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for round := range 20 {
		var files [2]strings.Builder
		for i := range files {
			for range random.IntN(30) {
				switch random.IntN(12) {
				case 0:
					files[i].WriteString(strings.Repeat("x", random.IntN(3*blockSize)))
				case 1:
					files[i].WriteString(strings.Repeat("y", blockSize-1))
				case 2:
					fmt.Fprintf(&files[i], `{"level":"WARN","msg":%q}`, strings.Repeat("z", random.IntN(2*blockSize)))
				case 3:
				default:
					fmt.Fprintf(&files[i], `{"level":"INFO","msg":"%d"}`, random.Int())
				}
				files[i].WriteString("\n")
			}
			if random.IntN(2) == 0 {
				files[i].WriteString("no end")
			}
		}
		for _, q := range []Query{{Source: SourceLog}, {Source: SourceLog, Level: "warn"}, {Source: SourceOutput}} {
			name := map[Source]string{SourceLog: "stream", SourceOutput: "output"}[q.Source]
			dir := put(t, map[string]string{
				name + "-2026-11-21T10-00-00.000.log": files[0].String(), name + ".log": files[1].String(),
			})
			q.Tail = -1
			all := verbatim(t, dir, q)
			for _, n := range []int{0, 1, 2, 3, random.IntN(len(all) + 1), len(all) - 1, len(all), len(all) + 1} {
				if n < 0 {
					continue
				}
				q.Tail = n
				got := verbatim(t, dir, q)
				require.Equal(t, all[max(len(all)-n, 0):], got, "round %d, %d of %d lines, %+v", round, n, len(all), q)
			}
		}
	}
}

// verbatim returns what a query gives, byte for byte.
func verbatim(t *testing.T, dir string, q Query) [][]byte {
	t.Helper()
	r, err := Open(dir, q)
	require.NoError(t, err)
	defer r.Close()
	out := [][]byte{}
	for {
		line, err := r.Next(t.Context())
		if errors.Is(err, io.EOF) {
			return out
		}
		require.NoError(t, err)
		out = append(out, line.text)
	}
}

// counted counts what is read of a file.
type counted struct {
	io.ReaderAt
	bytes int
}

func (c *counted) ReadAt(p []byte, off int64) (int, error) {
	c.bytes += len(p)
	return c.ReaderAt.ReadAt(p, off)
}

func TestATailOfABigLogReadsItsEndOnly(t *testing.T) {
	line := []byte(`{"time":"2026-11-21T10:00:00Z","level":"INFO","msg":"` + strings.Repeat("x", 140) + `"}` + "\n")
	text := bytes.Repeat(line, (8<<20)/len(line))
	size := int64(len(text))
	backup, current := &counted{ReaderAt: bytes.NewReader(text)}, &counted{ReaderAt: bytes.NewReader(text)}

	find := tail{lines: 200, source: SourceLog, ending: endOpen}
	index, offset, err := find.find([]span{{file: backup, size: size}, {file: current, size: size}})
	require.NoError(t, err)
	assert.Equal(t, 1, index)
	assert.Equal(t, size-int64(200*len(line)), offset)
	assert.Zero(t, backup.bytes)
	assert.LessOrEqual(t, current.bytes, 200*len(line)+blockSize)
}

func TestLongLinesAreCut(t *testing.T) {
	long := strings.Repeat("x", MaxLine+5)
	exact := strings.Repeat("y", MaxLine)
	dir := put(t, map[string]string{"output.log": "a\n" + long + "\n" + exact + "\nb\n"})
	want := []string{"a", long[:MaxLine] + "… (5 bytes cut)", exact, "b"}
	assert.Equal(t, want, rest(t, open(t, dir, Query{Tail: -1, Source: SourceOutput})))
	assert.Equal(t, want[1:], rest(t, open(t, dir, Query{Tail: 3, Source: SourceOutput})))

	record := func(level string) string {
		return fmt.Sprintf(`{"level":%q,"msg":%q}`+"\n", level, strings.Repeat("x", 3*MaxLine))
	}
	dir = put(t, map[string]string{"stream.log": record("WARN") + record("INFO")})
	for _, tail := range []int{-1, 1, 2} {
		got := rest(t, open(t, dir, Query{Tail: tail, Level: "warn"}))
		require.Len(t, got, 1)
		assert.True(t, strings.HasPrefix(got[0], `{"level":"WARN"`))
		assert.True(t, strings.HasSuffix(got[0], " bytes cut)"))
	}
}

// Who may write the folder must not be able to show the supervisor's own files
// or to hang it.
func TestOnlyRegularFilesAreRead(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	require.NoError(t, os.WriteFile(secret, []byte("secret\n"), 0o600))
	dir := t.TempDir()
	require.NoError(t, os.Symlink(secret, filepath.Join(dir, "stream.log")))
	require.NoError(t, syscall.Mkfifo(filepath.Join(dir, old), 0o600))
	assert.Empty(t, rest(t, open(t, dir, Query{Tail: -1})))
}

// Nor must they be able to use up the supervisor's file descriptors.
func TestTheNewestFilesAreRead(t *testing.T) {
	files := map[string]string{"stream.log": "current\n"}
	for i := range 3 * maxFiles {
		files[fmt.Sprintf("stream-2026-11-21T10-00-%02d.000.log", i)] = fmt.Sprintf("%d\n", i)
	}
	got := rest(t, open(t, put(t, files), Query{Tail: -1}))
	require.Len(t, got, maxFiles)
	assert.Equal(t, []string{"23", "current"}, got[maxFiles-2:])
}

// Without Follow a reader ends although the log grows.
func TestTheEndIsTakenWhenReadingBegins(t *testing.T) {
	dir := put(t, map[string]string{"stream.log": "1\n2\n"})
	r := open(t, dir, Query{Tail: -1})
	f, err := os.OpenFile(filepath.Join(dir, "stream.log"), os.O_APPEND|os.O_WRONLY, 0)
	require.NoError(t, err)
	defer f.Close()
	_, err = f.WriteString("3\n")
	require.NoError(t, err)
	assert.Equal(t, []string{"1", "2"}, rest(t, r))
}

func BenchmarkTail200(b *testing.B) {
	line := []byte(`{"time":"2026-11-21T10:00:00Z","level":"INFO","msg":"` + strings.Repeat("x", 140) + `"}` + "\n")
	dir := b.TempDir()
	for _, name := range []string{old, "stream.log"} {
		require.NoError(b, os.WriteFile(filepath.Join(dir, name), bytes.Repeat(line, (8<<20)/len(line)), 0o600))
	}
	for name, q := range map[string]Query{"all": {Tail: 200}, "level without a match": {Tail: 200, Level: "error"}} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r, err := Open(dir, q)
				require.NoError(b, err)
				for {
					if _, err := r.Next(b.Context()); errors.Is(err, io.EOF) {
						break
					}
				}
				require.NoError(b, r.Close())
			}
		})
	}
}
