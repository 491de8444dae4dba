package multiplex

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
)

// kind is what a frame is.
type kind byte

const (
	// kindHead begins an exchange, and its answer.
	kindHead kind = 1 + iota
	// kindData is a further piece of a body.
	kindData
	// kindCredit says that a piece was taken, and the next may come.
	kindCredit
	// kindCancel ends an exchange before its time.
	kindCancel
)

const (
	// headerSize is the length of what precedes every frame's payload: the
	// kind, whether it is the last of its body, two bytes that are zero, the
	// exchange and the payload's length.
	headerSize = 12
	// MaxPiece is the largest piece of a body in one frame, in bytes. Each is
	// waited for: half as large, a body of 1 MiB wakes both sides twice as often.
	MaxPiece = 256 << 10
	// maxHead is the largest request line, or status, with its headers.
	maxHead = 256 << 10
	// maxPayload is what one frame may have.
	maxPayload = 4 + maxHead + MaxPiece
	// smallBuffer is enough for most payloads, mediumBuffer for most bodies, and
	// largeBuffer for every piece that has no large head.
	smallBuffer  = 4 << 10
	mediumBuffer = 36 << 10
	largeBuffer  = 4 + MaxPiece + smallBuffer
)

// errProtocol is that the other side does not keep to the rules.
var errProtocol = errors.New("the other side breaks the rules of multiplexed exchanges")

// frame is one that was received. Its payload is to be given back by release.
type frame struct {
	kind kind
	last bool
	id   uint32
	// payload is what it brings: of a head, its length, the head, then the first
	// piece of the body.
	payload []byte
	buffer  *buffer
}

// buffer is memory for a payload.
type buffer struct{ bytes []byte }

var (
	smallBuffers  = sync.Pool{New: func() any { return &buffer{make([]byte, smallBuffer)} }}
	mediumBuffers = sync.Pool{New: func() any { return &buffer{make([]byte, mediumBuffer)} }}
	largeBuffers  = sync.Pool{New: func() any { return &buffer{make([]byte, largeBuffer)} }}
)

// room is a buffer of at least so many bytes.
func room(n int) *buffer {
	switch {
	case n <= smallBuffer:
		return smallBuffers.Get().(*buffer)
	case n <= mediumBuffer:
		return mediumBuffers.Get().(*buffer)
	case n <= largeBuffer:
		return largeBuffers.Get().(*buffer)
	}
	return &buffer{make([]byte, n)}
}

func (b *buffer) giveBack() {
	switch cap(b.bytes) {
	case smallBuffer:
		smallBuffers.Put(b)
	case mediumBuffer:
		mediumBuffers.Put(b)
	case largeBuffer:
		largeBuffers.Put(b)
	}
}

// release gives the memory of a frame back.
func (f *frame) release() {
	if f.buffer != nil {
		f.buffer.giveBack()
		f.buffer, f.payload = nil, nil
	}
}

// appendHeader appends what precedes a payload of n bytes.
func appendHeader(to []byte, k kind, last bool, id uint32, n int) []byte {
	flag := byte(0)
	if last {
		flag = 1
	}
	to = append(to, byte(k), flag, 0, 0)
	to = binary.LittleEndian.AppendUint32(to, id)
	return binary.LittleEndian.AppendUint32(to, uint32(n))
}

// putHeader is appendHeader for the space that was left for it.
func putHeader(in []byte, k kind, last bool, id uint32, n int) {
	appendHeader(in[:0], k, last, id, n)
}

// header reads what precedes a payload.
func header(h *[headerSize]byte) (f frame, n int, err error) {
	f.kind, f.last = kind(h[0]), h[1] == 1
	f.id = binary.LittleEndian.Uint32(h[4:])
	size := binary.LittleEndian.Uint32(h[8:])
	switch {
	case f.kind < kindHead || f.kind > kindCancel, h[1] > 1, h[2] != 0, h[3] != 0,
		size > maxPayload,
		f.kind == kindData && (size > MaxPiece || size == 0 && !f.last),
		f.kind >= kindCredit && size != 0:
		return frame{}, 0, fmt.Errorf("%w: a frame begins with %x", errProtocol, h[:])
	}
	return f, int(size), nil
}

// readFrame reads the next frame. The header's space is the caller's, so that
// it need not be made for each.
func readFrame(r io.Reader, space *[headerSize]byte) (frame, error) {
	if _, err := io.ReadFull(r, space[:]); err != nil {
		return frame{}, err
	}
	f, n, err := header(space)
	if err != nil || n == 0 {
		return f, err
	}
	f.buffer = room(n)
	f.payload = f.buffer.bytes[:n]
	if _, err := io.ReadFull(r, f.payload); err != nil {
		f.release()
		return frame{}, err
	}
	return f, nil
}

// split parts the payload of a head.
func (f *frame) split() (head, piece []byte, err error) {
	if len(f.payload) < 4 {
		return nil, nil, fmt.Errorf("%w: a head without a length", errProtocol)
	}
	n := binary.LittleEndian.Uint32(f.payload)
	rest := f.payload[4:]
	if n > maxHead || int(n) > len(rest) || len(rest)-int(n) > MaxPiece {
		return nil, nil, fmt.Errorf("%w: a head of %d bytes in a frame of %d", errProtocol, n, len(f.payload))
	}
	return rest[:n], rest[n:], nil
}
