package process

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestLastWords(t *testing.T) {
	frames := func(n int) string { return strings.Repeat("main.f(...)\n\t/main.go:1 +0x1d\n", n) }
	for name, c := range map[string]struct{ stderr, want string }{
		"nothing":  {"", ""},
		"no panic": {"cannot listen\nmore\n", "cannot listen"},
		"panic": {
			"starting\npanic: one\n\tpanic: two [recovered]\n\ngoroutine 7 [running]:\n" + frames(9) + "\ngoroutine 8 [select]:\n" + frames(1),
			"panic: one\n\tpanic: two [recovered]\n\ngoroutine 7 [running]:\n" + strings.TrimSuffix(frames(maxFrames), "\n"),
		},
		"short stack": {
			"panic: one\n\ngoroutine 7 [running]:\n" + frames(1) + "\ngoroutine 8 [select]:\n" + frames(1),
			"panic: one\n\ngoroutine 7 [running]:\n" + strings.TrimSuffix(frames(1), "\n"),
		},
		"fatal error": {"fatal error: all goroutines are asleep - deadlock!\n", "fatal error: all goroutines are asleep - deadlock!"},
		"long lines": {
			"panic: one\n\ngoroutine 7 [running]:\n" + strings.Repeat("main.f("+strings.Repeat("0x1d, ", 60)+"...)\n\t/main.go:1 +0x1d\n", 9),
			"panic: one\n\ngoroutine 7 [running]:\n" + strings.TrimSuffix(strings.Repeat("main.f("+strings.Repeat("0x1d, ", 60)+"...)\n\t/main.go:1 +0x1d\n", 2), "\n"),
		},
		"a line that just fits":      {"panic: " + strings.Repeat("x", maxMessage-7) + "\ny\n", "panic: " + strings.Repeat("x", maxMessage-7)},
		"a second line that is long": {"panic: one\n\n\t" + strings.Repeat("x", maxMessage) + "\n", "panic: one"},
		// 1023 bytes, and then a character of two that does not fit.
		"long": {"panic: " + strings.Repeat("x", 1016) + "é\n", "panic: " + strings.Repeat("x", 1016)},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			assert.Empty(t, lastWords(dir), "there is no file")
			require.NoError(t, os.WriteFile(stderrPath(dir), []byte(c.stderr), 0o600))
			assert.Equal(t, c.want, lastWords(dir))
		})
	}
}

func TestStderrIsBounded(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(stderrPath(dir), []byte(strings.Repeat("x", 2*maxStderr)), 0o600))
	data, err := readStderr(dir)
	require.NoError(t, err)
	assert.Len(t, data, maxStderr)
	assert.Len(t, lastWords(dir), maxMessage)
}
