package process

import (
	"bytes"
	"io"
	"os"
)

// firstLine reads a file as far as the end of its first line, or what came with
// that, and closes it then.
type firstLine struct {
	from *os.File
	read bool
}

// Read implements io.Reader.
func (l *firstLine) Read(p []byte) (int, error) {
	if l.read {
		return 0, io.EOF
	}
	n, err := l.from.Read(p)
	if bytes.IndexByte(p[:n], '\n') >= 0 {
		l.read = true
		// Nothing that was written is lost by it.
		_ = l.from.Close()
	}
	return n, err
}

// Close implements io.Closer.
func (l *firstLine) Close() error { return l.from.Close() }
