package multiplex

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/net/http/httpguts"
)

// fields is a list of byte strings, each with its length before it.
type fields []byte

// next takes the first off.
func (f *fields) next() ([]byte, error) {
	n, used := binary.Uvarint(*f)
	if used <= 0 || n > uint64(len(*f)-used) {
		return nil, fmt.Errorf("%w: a head ends within a field", errProtocol)
	}
	value := (*f)[used : used+int(n)]
	*f = (*f)[used+int(n):]
	return value, nil
}

func appendField[T ~string | ~[]byte](to []byte, value T) []byte {
	to = binary.AppendUvarint(to, uint64(len(value)))
	return append(to, value...)
}

// RequestHead is what precedes the headers of a request.
type RequestHead struct {
	Method []byte
	// URI is the request's target as it was sent.
	URI []byte
	// Host is what the client took the server for.
	Host []byte
	// RemoteAddr is the client's address.
	RemoteAddr string
	// ContentLength is what the client has announced; negative if nothing.
	ContentLength int64
}

// Outgoing is a request as it is sent: the frame's header, the head, and the
// first piece of its body. It is made by NewOutgoing, filled by Header and Body
// in this order, and may be used for one Client.Start.
type Outgoing struct {
	frame []byte
	head  int
}

// NewOutgoing begins a request in the memory of to.
func NewOutgoing(to []byte, h *RequestHead) Outgoing {
	to = append(to[:0], make([]byte, headerSize+4)...)
	to = appendField(to, h.Method)
	to = appendField(to, h.URI)
	to = appendField(to, h.Host)
	to = appendField(to, h.RemoteAddr)
	to = binary.AppendVarint(to, h.ContentLength)
	return Outgoing{frame: to}
}

// Header appends a header.
func (o *Outgoing) Header(name, value []byte) {
	o.frame = appendField(o.frame, name)
	o.frame = appendField(o.frame, value)
}

// HeaderString appends a header.
func (o *Outgoing) HeaderString(name, value string) {
	o.frame = appendField(o.frame, name)
	o.frame = appendField(o.frame, value)
}

// Room ends the headers and returns space for the first piece of the body, of n
// bytes, which is to be filled and cut to its length by Filled.
func (o *Outgoing) Room(n int) []byte {
	o.endHead()
	at := len(o.frame)
	o.frame = append(o.frame, make([]byte, n)...)
	return o.frame[at:]
}

// Filled says how much of the room that was given is the body's.
func (o *Outgoing) Filled(n int) {
	o.endHead()
	o.frame = o.frame[:o.head+n]
}

func (o *Outgoing) endHead() {
	if o.head == 0 {
		o.head = len(o.frame)
		binary.LittleEndian.PutUint32(o.frame[headerSize:], uint32(o.head-headerSize-4))
	}
}

// Memory is what the request was made in, to be used again after Start.
func (o *Outgoing) Memory() []byte { return o.frame }

// finish makes the frame of it.
func (o *Outgoing) finish(id uint32, last bool) ([]byte, error) {
	o.endHead()
	if o.head-headerSize-4 > maxHead {
		return nil, fmt.Errorf("the request's headers are larger than %d bytes", maxHead)
	}
	putHeader(o.frame, kindHead, last, id, len(o.frame)-headerSize)
	return o.frame, nil
}

// Head is that of an answer.
type Head struct {
	// Status is from 200 to 999.
	Status int
	// ContentLength is that of the whole body; negative if nobody knows.
	ContentLength int64
	headers       fields
}

// readHead reads the head of an answer, and all of its headers once, so that
// nothing can be wrong with them later.
func readHead(text []byte) (Head, error) {
	status, used := binary.Uvarint(text)
	if used <= 0 || status < 200 || status > 999 {
		return Head{}, fmt.Errorf("%w: an answer without a status", errProtocol)
	}
	text = text[used:]
	length, used := binary.Varint(text)
	if used <= 0 {
		return Head{}, fmt.Errorf("%w: an answer without a length", errProtocol)
	}
	h := Head{Status: int(status), ContentLength: max(length, -1), headers: text[used:]}
	for rest := h.headers; len(rest) > 0; {
		name, err := rest.next()
		if err != nil {
			return Head{}, err
		}
		value, err := rest.next()
		if err != nil {
			return Head{}, err
		}
		if !ValidHeaderName(name) || !ValidHeaderValue(value) {
			return Head{}, fmt.Errorf("%w: an answer with the header %.80q: %.80q", errProtocol, name, value)
		}
	}
	return h, nil
}

// Headers yields the headers. They are valid for as long as the answer's first
// piece is.
func (h *Head) Headers(yield func(name, value []byte) bool) {
	for rest := h.headers; len(rest) > 0; {
		// What readHead has read cannot fail.
		name, _ := rest.next()
		value, _ := rest.next()
		if !yield(name, value) {
			return
		}
	}
}

// ValidHeaderName says whether Go's own server lets the name of a header pass,
// which the streams' handlers are made for.
func ValidHeaderName(name []byte) bool {
	for _, c := range name {
		if !httpguts.IsTokenRune(rune(c)) {
			return false
		}
	}
	return len(name) > 0
}

// ValidHeaderValue is httpguts.ValidHeaderFieldValue without a copy.
func ValidHeaderValue(value []byte) bool {
	for _, c := range value {
		if c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

// stringFields is fields of a string: what it yields needs no memory of its
// own. After an error it yields nothing.
type stringFields struct {
	rest string
	err  error
}

func (f *stringFields) next() string {
	n, used := uvarint(f.rest)
	if f.err != nil || used <= 0 || n > uint64(len(f.rest)-used) {
		f.fail()
		return ""
	}
	value := f.rest[used : used+int(n)]
	f.rest = f.rest[used+int(n):]
	return value
}

// number takes off what binary.AppendVarint has made.
func (f *stringFields) number() int64 {
	n, used := uvarint(f.rest)
	if f.err != nil || used <= 0 {
		f.fail()
		return 0
	}
	f.rest = f.rest[used:]
	value := int64(n >> 1)
	if n&1 != 0 {
		value = ^value
	}
	return value
}

func (f *stringFields) fail() {
	f.rest = ""
	if f.err == nil {
		f.err = fmt.Errorf("%w: a head ends within a field", errProtocol)
	}
}

// uvarint is binary.Uvarint of a string.
func uvarint(text string) (uint64, int) {
	return binary.Uvarint([]byte(text[:min(len(text), binary.MaxVarintLen64)]))
}
