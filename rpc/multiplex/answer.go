package multiplex

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log"
	"net/http"
	"strconv"

	"golang.org/x/net/http/httpguts"
)

const (
	// flushAt is how much of an answer is gathered before its head goes out,
	// unless the handler wants it out. What is shorter goes out with its length,
	// which spares the other side to make chunks of it.
	flushAt = 4 << 20
	// sampleSize is how much of a body its type is guessed by.
	sampleSize = 512
)

// answer is what a handler writes to. It does what Go's server does, as far as
// it can be told from the other side: lengths that are known, types that are
// guessed, bodies that may not be.
type answer struct {
	call   *served
	header http.Header
	status int
	// fields are the headers as they were when the status was set. What is
	// changed later does not count. typed says that they tell the body's type, or
	// that it is not to be guessed.
	fields []byte
	typed  bool
	// length is what the handler has announced; negative if nothing.
	length  int64
	written int64
	// text is what is to be sent next, and unsent how much more there would be of
	// what may have no body.
	text   gathered
	unsent int
	// sample is the beginning of that, by which its type is guessed.
	sample []byte
	// sent says that the head has gone out, and due that a credit is to come
	// before the next piece.
	sent bool
	due  bool
	// silent says that there may be no body.
	silent bool
	err    error
}

// Header implements http.ResponseWriter.
func (a *answer) Header() http.Header { return a.header }

// WriteHeader implements http.ResponseWriter.
func (a *answer) WriteHeader(status int) {
	if status < 100 || status > 999 {
		panic("invalid WriteHeader code " + strconv.Itoa(status))
	}
	if a.status != 0 || status < 200 {
		// The second one does not count, and what is only for information is not
		// passed on.
		return
	}
	a.status = status
	a.silent = a.call.request.Method == http.MethodHead || status == http.StatusNoContent || status == http.StatusNotModified
	for name, values := range a.header {
		switch {
		case name == "Content-Length":
			if n, err := strconv.ParseInt(a.header.Get(name), 10, 64); err == nil && n >= 0 {
				a.length = n
			}
			continue
		case !httpguts.ValidHeaderFieldName(name), status == http.StatusNotModified && name == "Content-Type":
			continue
		case name == "Content-Type" || name == "Content-Encoding":
			a.typed = true
		}
		for _, value := range values {
			a.fields = appendField(a.fields, name)
			a.fields = appendField(a.fields, clean(value))
		}
	}
}

// Write implements http.ResponseWriter.
func (a *answer) Write(p []byte) (int, error) {
	if a.status == 0 {
		a.WriteHeader(http.StatusOK)
	}
	switch {
	case len(p) == 0:
		return 0, nil
	case a.status == http.StatusNoContent, a.status == http.StatusNotModified:
		return 0, http.ErrBodyNotAllowed
	case a.length >= 0 && a.written+int64(len(p)) > a.length:
		return 0, http.ErrContentLength
	}
	a.written += int64(len(p))
	switch {
	case a.err != nil:
		return 0, a.err
	case a.silent:
		// How much there would be is all that counts.
		a.unsent += len(p)
		a.sample = append(a.sample, p[:min(len(p), sampleSize-len(a.sample))]...)
		return len(p), nil
	}
	// What is long is not copied as a whole: its reader may be slow.
	for rest := p; len(rest) > 0 && a.err == nil; {
		n := min(len(rest), MaxPiece)
		a.text.add(rest[:n])
		rest = rest[n:]
		if a.sent || a.text.size() > flushAt {
			a.sendFull(false)
		}
	}
	return len(p), a.err
}

// WriteString implements io.StringWriter.
func (a *answer) WriteString(s string) (int, error) { return a.Write([]byte(s)) }

// Flush implements http.Flusher.
func (a *answer) Flush() {
	if a.status == 0 {
		a.WriteHeader(http.StatusOK)
	}
	if a.text.size() > 0 || !a.sent {
		a.send(false)
	}
}

// end sends what is left once the handler has returned. One that has not
// answered well gives up.
func (a *answer) end(well bool) {
	defer a.text.release()
	if a.status == 0 && well {
		a.WriteHeader(http.StatusOK)
	}
	if well && (a.length < 0 || a.written >= a.length || a.silent) {
		if !a.sent && a.length < 0 && (!a.silent || a.unsent > 0) {
			a.length = int64(a.text.size() + a.unsent)
		}
		a.send(true)
	}
	if errors.Is(a.err, errHeaders) {
		log.Printf("http: answering %s: %v", a.call.request.RemoteAddr, a.err)
	}
	if !well || a.length >= 0 && a.written < a.length && !a.silent || a.err != nil {
		_ = a.call.conn.out.signal(kindCancel, a.call.id)
	}
}

// send sends what was gathered, in pieces.
func (a *answer) send(last bool) {
	only := len(a.text.full) == 0
	a.sendFull(last && len(a.text.rest) == 0)
	if only || len(a.text.rest) > 0 {
		text, held := a.text.takeRest()
		a.piece(text, held, last)
	}
}

// sendFull sends the full pieces of what was gathered.
func (a *answer) sendFull(last bool) {
	full := a.text.takeFull()
	for i, piece := range full {
		a.piece(piece.bytes[headerSize:headerSize+MaxPiece], piece, last && i == len(full)-1)
	}
}

// piece sends a piece once the other side has taken the one before. The buffer
// that it may be in is not the answer's any more.
func (a *answer) piece(text []byte, held *buffer, last bool) {
	if a.due && a.err == nil {
		select {
		case <-a.call.credit:
		case <-a.call.ctx.Done():
			a.err = a.call.ctx.Err()
		}
	}
	switch {
	case a.err != nil:
		if held != nil {
			held.giveBack()
		}
		return
	case !a.sent:
		a.err = a.sendHead(text, held, last)
	case held == nil:
		held = room(headerSize + len(text))
		copy(held.bytes[headerSize:], text)
		fallthrough
	default:
		a.err = a.call.conn.out.sendPiece(a.call.id, held, len(text), last)
	}
	a.sent, a.due = true, true
}

// errHeaders is that a handler has set more headers than can be sent.
var errHeaders = fmt.Errorf("the answer's headers are larger than %d bytes", maxHead)

// sendHead sends the first frame of the answer.
func (a *answer) sendHead(text []byte, held *buffer, last bool) error {
	// What precedes the headers, and a type that is guessed, take less than 256
	// bytes.
	buffer := room(headerSize + 256 + len(a.fields))
	defer buffer.giveBack()
	to := buffer.bytes[:headerSize+4]
	to = binary.AppendUvarint(to, uint64(a.status))
	to = binary.AppendVarint(to, a.length)
	to = append(to, a.fields...)
	sample := text
	if a.silent {
		sample = a.sample
	}
	if !a.typed && len(sample) > 0 {
		to = appendField(to, "Content-Type")
		to = appendField(to, http.DetectContentType(sample))
	}
	head := len(to) - headerSize - 4
	if head > maxHead {
		if held != nil {
			held.giveBack()
		}
		return errHeaders
	}
	binary.LittleEndian.PutUint32(to[headerSize:], uint32(head))
	putHeader(to, kindHead, last, a.call.id, len(to)-headerSize+len(text))
	return a.call.conn.out.sendWith(to, text, held)
}

// clean takes line ends out of a header's value, as Go's server does.
func clean(value string) string {
	if httpguts.ValidHeaderFieldValue(value) {
		return value
	}
	out := []byte(value)
	for i, c := range out {
		if c < ' ' && c != '\t' || c == 0x7f {
			out[i] = ' '
		}
	}
	return string(out)
}
