package process

import (
	"bufio"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Who reads lines as long as there are any is done after the first, though the
// writer lives on.
func TestFirstLine(t *testing.T) {
	read, write, err := os.Pipe()
	require.NoError(t, err)
	t.Cleanup(func() { _ = write.Close() })
	// It comes in two parts, as a pipe may give it.
	lines := make(chan []string, 1)
	go func() {
		var got []string
		for scanner := bufio.NewScanner(&firstLine{from: read}); scanner.Scan(); {
			got = append(got, scanner.Text())
		}
		lines <- got
	}()
	for _, part := range []string{"1|2|un", "ix\n"} {
		_, err = write.WriteString(part)
		require.NoError(t, err)
	}
	assert.Equal(t, []string{"1|2|unix"}, <-lines)
	assert.ErrorIs(t, read.Close(), os.ErrClosed, "its pipe is still open")
}

// A process that ends without a line is seen to.
func TestFirstLineOfNone(t *testing.T) {
	read, write, err := os.Pipe()
	require.NoError(t, err)
	line := &firstLine{from: read}
	t.Cleanup(func() { _ = line.Close() })
	require.NoError(t, write.Close())
	assert.False(t, bufio.NewScanner(line).Scan())
}
