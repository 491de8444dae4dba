package logs

import (
	"bytes"
	"errors"
	"io"
	"slices"
)

// blockSize is how much is read at once, in bytes.
const blockSize = 64 << 10

// lookBack is how much of a log's end the last lines are looked for in, in
// bytes. A file can be all holes, and larger than anybody could read.
const lookBack = 32 << 20

// span is a part of a log's file.
type span struct {
	file io.ReaderAt
	// from is where looking backwards stops, size where it begins.
	from, size int64
}

// bound makes the spans together no longer than lookBack.
func bound(spans []span) {
	left := int64(lookBack)
	for i := len(spans) - 1; i >= 0; i-- {
		spans[i].from = max(spans[i].size-left, 0)
		left -= spans[i].size - spans[i].from
	}
}

// ending says what follows the line that a tail is putting together.
type ending int

const (
	// endOpen is the end of what there is by now: more may come.
	endOpen ending = iota
	// endFile is an end that stays: what stands before it is a line.
	endFile
	endNewline
)

// tail looks backwards for the place where the last lines begin.
type tail struct {
	// lines is how many are still to be found.
	lines  int
	source Source
	// wanted leaves out lines that do not count; nil when all count.
	wanted func(Line) bool

	// line is what is known of the line that is being put together, or as much
	// of that as can be its first MaxLine bytes.
	line   []byte
	cut    int64
	ending ending
}

// find returns where to begin reading: which span, and the offset in it. That
// is where looking stopped when there are not as many lines.
func (t *tail) find(spans []span) (index int, offset int64, err error) {
	if len(spans) == 0 {
		return 0, 0, nil
	}
	block := make([]byte, blockSize)
	index, offset = len(spans)-1, spans[len(spans)-1].size
	for i := len(spans) - 1; i >= 0; i-- {
		for pos := spans[i].size; pos > spans[i].from; {
			from := max(pos-blockSize, spans[i].from)
			n, err := spans[i].file.ReadAt(block[:pos-from], from)
			if err != nil && !errors.Is(err, io.EOF) {
				return 0, 0, err
			}
			// Somebody may have cut the file short meanwhile.
			part := block[:n]
			pos = from
			for newline := bytes.LastIndexByte(part, '\n'); newline >= 0; newline = bytes.LastIndexByte(part, '\n') {
				t.prepend(part[newline+1:])
				if t.begins() {
					index, offset = i, from+int64(newline)+1
				}
				if t.lines == 0 {
					return index, offset, nil
				}
				t.ending = endNewline
				part = part[:newline]
			}
			t.prepend(part)
		}
		if spans[i].from > 0 {
			return i, spans[i].from, nil
		}
		// A record does not go on in the next file, whatever a crash has left at
		// the end of this one. What is printed does.
		if i == 0 || t.source != SourceOutput {
			if t.begins() {
				index, offset = i, 0
			}
			if t.lines == 0 {
				return index, offset, nil
			}
			t.ending = endFile
		}
	}
	return 0, 0, nil
}

// prepend puts what stands before the line in front of it.
func (t *tail) prepend(part []byte) {
	if len(t.line) == 0 {
		t.line = append(t.line, part...)
	} else {
		t.line = slices.Insert(t.line, 0, part...)
	}
	if over := len(t.line) - MaxLine; over > 0 {
		t.line = t.line[:MaxLine]
		t.cut += int64(over)
	}
}

// begins takes note that the line is whole, counts it if it counts, and says
// whether reading has to begin with it.
func (t *tail) begins() bool {
	line := Line{source: t.source, text: t.line, cut: t.cut}
	t.line, t.cut = t.line[:0], 0
	if t.ending != endNewline && len(line.text) == 0 {
		return false
	}
	if t.lines > 0 && t.ending != endOpen && (t.wanted == nil || t.wanted(line)) {
		t.lines--
	}
	return true
}
