package logs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"gopkg.in/natefinch/lumberjack.v2"
)

// rotated is what a runner writes its log with, but for the size of a file.
func rotated(t *testing.T, dir, name string) *lumberjack.Logger {
	t.Helper()
	l := &lumberjack.Logger{Filename: filepath.Join(dir, name), MaxSize: 1, MaxBackups: 1}
	t.Cleanup(func() { assert.NoError(t, l.Close()) })
	return l
}

func write(t *testing.T, w io.Writer, text string) {
	t.Helper()
	_, err := io.WriteString(w, text)
	require.NoError(t, err)
}

// isWaiting proves that there is nothing to read by now: Next returns only
// since its context ends.
func isWaiting(t *testing.T, r *Reader) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	line, err := r.Next(ctx)
	require.ErrorIs(t, err, context.DeadlineExceeded, "got %q", line.Text())
}

func TestFollow(t *testing.T) {
	dir := put(t, map[string]string{"stream.log": "1\n2\n3\n"})
	r := open(t, dir, Query{Tail: 1, Follow: true})
	assert.Equal(t, []string{"3"}, next(t, r, 1))
	isWaiting(t, r)

	log := rotated(t, dir, "stream.log")
	write(t, log, "4\n5\n")
	assert.Equal(t, []string{"4", "5"}, next(t, r, 2))
	write(t, log, "ha")
	isWaiting(t, r)
	write(t, log, "lf")
	isWaiting(t, r)
	write(t, log, "\nwhole\n")
	assert.Equal(t, []string{"half", "whole"}, next(t, r, 2))

	write(t, log, "before\n")
	require.NoError(t, log.Rotate())
	write(t, log, "after\n")
	assert.Equal(t, []string{"before", "after"}, next(t, r, 2))
	isWaiting(t, r)
}

func TestFollowWakesAtOnce(t *testing.T) {
	dir := put(t, map[string]string{"stream.log": ""})
	r := open(t, dir, Query{Follow: true})
	isWaiting(t, r)
	log := rotated(t, dir, "stream.log")
	var worst time.Duration
	for i := range 20 {
		began := time.Now()
		write(t, log, fmt.Sprintf("%d\n", i))
		assert.Equal(t, []string{fmt.Sprint(i)}, next(t, r, 1))
		worst = max(worst, time.Since(began))
	}
	// Without a watch each would take the time of a poll.
	assert.Less(t, worst, pollEvery-50*time.Millisecond)
}

func TestFollowWithoutAWatch(t *testing.T) {
	dir := put(t, map[string]string{"stream.log": "1\n"})
	r := open(t, dir, Query{Tail: -1, Follow: true})
	// What newWatch gives where the system refuses one.
	r.watch = &watch{}
	assert.Equal(t, []string{"1"}, next(t, r, 1))
	isWaiting(t, r)
	log := rotated(t, dir, "stream.log")
	write(t, log, "2\n")
	require.NoError(t, log.Rotate())
	write(t, log, "3\n")
	assert.Equal(t, []string{"2", "3"}, next(t, r, 2))
	require.NoError(t, os.RemoveAll(dir))
	assert.Empty(t, rest(t, r))
}

func TestFollowFromTheEnd(t *testing.T) {
	dir := put(t, map[string]string{old: "0\n", "stream.log": "1\nha"})
	r := open(t, dir, Query{Follow: true})
	isWaiting(t, r)
	write(t, rotated(t, dir, "stream.log"), "lf\n")
	assert.Equal(t, []string{"half"}, next(t, r, 1))
}

func TestFollowWaitsForFolderAndFile(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "streams", "a")
	r := open(t, dir, Query{Tail: 10, Follow: true})
	isWaiting(t, r)
	require.NoError(t, os.MkdirAll(dir, 0o700))
	isWaiting(t, r)
	write(t, rotated(t, dir, "stream.log"), "1\n")
	assert.Equal(t, []string{"1"}, next(t, r, 1))
}

func TestFollowEndsWithTheFolder(t *testing.T) {
	for name, again := range map[string]bool{"removed": false, "removed and made again": true} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "a")
			log := rotated(t, dir, "stream.log")
			write(t, log, "1\n")
			r := open(t, dir, Query{Tail: -1, Follow: true})
			assert.Equal(t, []string{"1"}, next(t, r, 1))
			isWaiting(t, r)

			write(t, log, "2\nno end")
			require.NoError(t, os.RemoveAll(dir))
			if again {
				write(t, rotated(t, dir, "stream.log"), "of another stream\n")
			}
			assert.Equal(t, []string{"2", "no end"}, rest(t, r))
			_, err := r.Next(soon(t))
			assert.Equal(t, io.EOF, err)
		})
	}
}

func TestFollowEndsWithAFolderThatGoesWhileItWaits(t *testing.T) {
	dir := put(t, map[string]string{"stream.log": ""})
	r := open(t, dir, Query{Follow: true})
	got := make(chan error, 1)
	go func() {
		_, err := r.Next(soon(t))
		got <- err
	}()
	require.NoError(t, os.RemoveAll(dir))
	assert.Equal(t, io.EOF, <-got)
}

// A writer of the output knows no lines: a rotation falls anywhere.
func TestALineOfTheOutputGoesOnInTheNextFile(t *testing.T) {
	dir := t.TempDir()
	log := rotated(t, dir, "output.log")
	r := open(t, dir, Query{Follow: true, Source: SourceOutput})
	write(t, log, "one, ")
	require.NoError(t, log.Rotate())
	write(t, log, "two\n")
	assert.Equal(t, []string{"one, two"}, next(t, r, 1))
}

// A crash leaves half a record, and the next runner rotates the file.
func TestATornRecordDoesNotGoOnInTheNextFile(t *testing.T) {
	dir := t.TempDir()
	log := rotated(t, dir, "stream.log")
	r := open(t, dir, Query{Follow: true})
	write(t, log, `{"torn`)
	require.NoError(t, log.Rotate())
	write(t, log, "{}\n")
	assert.Equal(t, []string{`{"torn`, ""}, next(t, r, 2))
}

func TestAnEmptiedFileIsReadFromItsBeginning(t *testing.T) {
	dir := put(t, map[string]string{"stream.log": "1\n2\n3"})
	r := open(t, dir, Query{Tail: -1, Follow: true})
	assert.Equal(t, []string{"1", "2"}, next(t, r, 2))
	isWaiting(t, r)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "stream.log"), []byte("4\n"), 0o600))
	got := next(t, r, 3)
	assert.Equal(t, "3", got[0])
	assert.Contains(t, got[1], "Lines may be missing here: the log file was emptied")
	assert.Equal(t, "4", got[2])
}

func TestFilesThatWereRotatedAwayUnreadAreTold(t *testing.T) {
	dir := t.TempDir()
	log := rotated(t, dir, "stream.log")
	write(t, log, `{"level":"ERROR","msg":"0"}`+"\n")
	r := open(t, dir, Query{Tail: -1, Follow: true, Level: "error"})
	assert.Equal(t, []string{"ERROR 0"}, next(t, r, 1))

	files := rotationOf(dir, SourceLog)
	for i := 1; i <= 5; i++ {
		write(t, log, fmt.Sprintf(`{"level":"ERROR","msg":"%d"}`+"\n", i))
		// The names of backups differ by the millisecond.
		time.Sleep(2 * time.Millisecond)
		require.NoError(t, log.Rotate())
	}
	// lumberjack removes files in its own time.
	require.Eventually(t, func() bool {
		names, _, err := files.names()
		return err == nil && len(names) == 2
	}, 10*time.Second, time.Millisecond)
	write(t, log, `{"level":"ERROR","msg":"6"}`+"\n")

	// The first was open; the second to fourth are gone.
	assert.Equal(t, []string{"ERROR 1"}, next(t, r, 1))
	notice, err := r.Next(soon(t))
	require.NoError(t, err)
	assert.Contains(t, notice.Text(), "Lines may be missing here: log files were rotated away before they were read source=")
	assert.Regexp(t, `^{"time":"2[^"]*Z","source":"penstock","msg":"Lines may be missing here: [^"]*"}$`, string(notice.JSON()))
	assert.Equal(t, []string{"ERROR 5", "ERROR 6"}, next(t, r, 2))
	isWaiting(t, r)
}

// numbered writes numbered records as a runner does, calling each before it.
func numbered(w io.Writer, n int, each func(i int)) {
	log := slog.New(slog.NewJSONHandler(w, nil)).With("stream", "a")
	pad := strings.Repeat("x", 100)
	for i := range n {
		each(i)
		log.Info("line", "n", i, "pad", pad)
	}
	log.Info("end")
}

// follow collects the numbers up to the end; a notice counts as -1.
func follow(t *testing.T, r *Reader, seen func(n int)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	for {
		line, err := r.Next(ctx)
		require.NoError(t, err)
		if bytes.Contains(line.text, []byte(`"msg":"end"`)) {
			return
		}
		if line.source == sourceReader {
			seen(-1)
			continue
		}
		n, ok := number(line)
		if !ok {
			require.FailNow(t, "not a numbered line", line.Text())
		}
		seen(n)
	}
}

// number is the one of a numbered record.
func number(line Line) (n int, ok bool) {
	_, after, ok := bytes.Cut(line.text, []byte(`"n":`))
	if !ok {
		return 0, false
	}
	_, err := fmt.Sscan(string(after), &n)
	return n, err == nil
}

// A reader that keeps up with a file's size sees each line once and in order.
func TestFollowingThroughRotationsLosesAndDoublesNothing(t *testing.T) {
	const lines = 50_000
	for name, q := range map[string]Query{"all": {Tail: -1, Follow: true}, "level": {Tail: -1, Follow: true, Level: "info"}} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			r := open(t, dir, q)
			var got atomic.Int64
			done := make(chan struct{})
			go func() {
				defer close(done)
				numbered(rotated(t, dir, "stream.log"), lines, func(i int) {
					// About 200 bytes a line: at most one file of 1 MiB ahead.
					for int64(i)-got.Load() > 4_000 && t.Context().Err() == nil {
						time.Sleep(100 * time.Microsecond)
					}
				})
			}()
			follow(t, r, func(n int) {
				if want := got.Add(1) - 1; int64(n) != want {
					require.FailNow(t, "not the next line", "%d instead of %d", n, want)
				}
			})
			<-done
			assert.EqualValues(t, lines, got.Load())
		})
	}
}

// However slow the reader, no line is given twice or out of order, and where
// some are missing that is said.
func TestFollowingAWriterThatIsTooFastTellsWhatIsMissing(t *testing.T) {
	const lines = 50_000
	dir := t.TempDir()
	r := open(t, dir, Query{Tail: -1, Follow: true})
	done := make(chan struct{})
	go func() {
		defer close(done)
		numbered(rotated(t, dir, "stream.log"), lines, func(int) {})
	}()
	last, count, notices, told := -1, 0, 0, false
	follow(t, r, func(n int) {
		if n < 0 {
			notices, told = notices+1, true
			return
		}
		if count%2_000 == 0 {
			time.Sleep(20 * time.Millisecond)
		}
		if n <= last || n != last+1 && !told {
			require.FailNow(t, "lines are missing or doubled", "%d follows %d and nothing says that lines are missing", n, last)
		}
		last, told, count = n, false, count+1
	})
	<-done
	assert.Equal(t, lines-1, last)
	t.Logf("%d of %d lines read, %d notices", count, lines, notices)
}

func TestATailWhileFilesRotate(t *testing.T) {
	dir := t.TempDir()
	log := rotated(t, dir, "stream.log")
	done := make(chan struct{})
	go func() {
		defer close(done)
		numbered(log, 30_000, func(int) {})
	}()
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		r, err := Open(dir, Query{Tail: 100})
		require.NoError(t, err)
		last := -1
		for {
			line, err := r.Next(soon(t))
			if errors.Is(err, io.EOF) {
				break
			}
			require.NoError(t, err)
			n, ok := number(line)
			if !ok {
				continue
			}
			if last >= 0 && n != last+1 {
				require.FailNow(t, "lines are missing or doubled", "%d follows %d", n, last)
			}
			last = n
		}
		require.NoError(t, r.Close())
	}
}

// The writer is between the two pages of one write when the reader takes the
// size of the file.
func TestAnUnfinishedLineIsFinished(t *testing.T) {
	dir := t.TempDir()
	log := rotated(t, dir, "stream.log")
	write(t, log, "1\nha")
	r := open(t, dir, Query{Tail: 2})
	assert.Equal(t, []string{"1"}, next(t, r, 1))
	rest := make(chan error)
	go func() {
		_, err := io.WriteString(log, "lf\n2\n")
		rest <- err
	}()
	assert.Equal(t, []string{"half"}, next(t, r, 1))
	require.NoError(t, <-rest)
	_, err := r.Next(soon(t))
	assert.ErrorIs(t, err, io.EOF)

	// What a crash has left is not waited for, and not lost.
	write(t, log, "le")
	ago := time.Now().Add(-time.Minute)
	require.NoError(t, os.Chtimes(filepath.Join(dir, "stream.log"), ago, ago))
	assert.Equal(t, []string{"2", "le"}, next(t, open(t, dir, Query{Tail: 2}), 2))
}
