package logs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
)

// maxAhead is how many files behind the one that is being read are kept open.
// Each can be one that is removed meanwhile and then takes up to a file's size
// of the disk until it is read.
const maxAhead = 2

// maxUnread is how far behind a file's end reading may be, in bytes; what is
// before that is left out. No runner writes a file that is larger, but a stream
// can make one of any size out of nothing.
const maxUnread = 1 << 30

// What is told where lines may be missing.
const (
	noticeRotated = "Lines may be missing here: log files were rotated away before they were read"
	noticeEmptied = "Lines may be missing here: the log file was emptied before it was read to its end"
)

// Reader gives the lines of a log. One goroutine at a time may use it.
type Reader struct {
	files  rotation
	source Source
	follow bool
	wanted func(Line) bool

	// chain holds the files that are to be read; the first is being read.
	chain []*segment
	// folder is the one that is followed, open, so that another one made in its
	// place is told from it; nil until it exists.
	folder *file
	watch  *watch

	block []byte
	// unread is the part of block that has not been taken apart yet.
	unread []byte
	// line is the beginning of the line that block goes on with.
	line []byte
	cut  int64
	// flush says that line is whole without a newline.
	flush bool
	// notice is to be given before what follows; empty for none.
	notice string
	// ended says that nothing is waited for any more.
	ended bool
}

// segment is a file that is to be read.
type segment struct {
	*file
	// next is the offset of what was not read yet.
	next int64
	// end is where reading stops; negative for where the file ends by then.
	end int64
	// notice tells what is missing before this file; empty for nothing.
	notice string
}

// Open begins to read the log in dir. A folder or file that does not exist is
// an empty log, and with Follow it is waited for.
func Open(dir string, q Query) (*Reader, error) {
	if err := q.Validate(); err != nil {
		return nil, err
	}
	if q.Source == "" {
		q.Source = SourceLog
	}
	r := &Reader{
		files: rotationOf(dir, q.Source), source: q.Source, follow: q.Follow, wanted: q.wanted(),
		block: make([]byte, blockSize), ended: !q.Follow,
	}
	if err := r.begin(q); err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

// begin opens the files and goes to where the wanted lines begin.
func (r *Reader) begin(q Query) error {
	if r.follow {
		if err := r.openFolder(); err != nil {
			return err
		}
	}
	if r.follow && r.folder == nil {
		return nil
	}
	files, notice, err := r.files.open()
	if err != nil {
		return err
	}
	r.notice = notice
	spans := make([]span, len(files))
	for i, f := range files {
		r.chain = append(r.chain, &segment{file: f, end: -1})
		info, err := f.Stat()
		if err != nil {
			return fmt.Errorf("reading the size of %s: %w", f.Name(), err)
		}
		spans[i] = span{file: f, size: info.Size()}
		if !r.follow {
			// Who writes faster than is read must not keep the reader for ever.
			r.chain[i].end = info.Size()
		}
	}
	if q.Tail < 0 || len(files) == 0 {
		return nil
	}
	bound(spans)
	t := tail{lines: q.Tail, source: r.source, wanted: r.wanted, ending: endFile}
	if r.follow {
		t.ending = endOpen
	}
	index, offset, err := t.find(spans)
	if err != nil {
		return fmt.Errorf("looking for the last %d lines of %s: %w", q.Tail, r.files.path(r.files.current()), err)
	}
	if offset > 0 && offset == spans[index].from && q.Tail > 0 {
		r.notice = fmt.Sprintf("Lines may be missing here: the last %d lines were looked for in the last %d MiB of the log only", q.Tail, lookBack>>20)
	}
	for range index {
		r.drop()
	}
	r.chain[0].next = offset
	if !r.follow && q.Tail == 0 {
		r.chain[0].end = offset
	}
	return nil
}

// Next returns the next line. The error is io.EOF at the end, which with Follow
// is when the log's folder was removed; and the context's when that ends first,
// after which Next may be called again.
func (r *Reader) Next(ctx context.Context) (Line, error) {
	for {
		if err := ctx.Err(); err != nil {
			return Line{}, err
		}
		if line, ok := r.take(); ok {
			if r.wanted == nil || r.wanted(line) {
				return line, nil
			}
			continue
		}
		if err := r.fill(ctx); err != nil {
			return Line{}, err
		}
	}
}

// Close lets go of the files.
func (r *Reader) Close() error {
	for len(r.chain) > 0 {
		r.drop()
	}
	if r.folder != nil {
		r.folder.Close()
		r.folder = nil
	}
	if r.watch != nil {
		r.watch.close()
		r.watch = nil
	}
	r.ended = true
	return nil
}

// drop lets go of the file that is being read.
func (r *Reader) drop() {
	r.chain[0].Close()
	r.chain = r.chain[1:]
}

// take returns the next line of what was read; false when more has to be read.
func (r *Reader) take() (Line, bool) {
	newline := bytes.IndexByte(r.unread, '\n')
	switch {
	case newline >= 0:
		r.keep(r.unread[:newline])
		r.unread = r.unread[newline+1:]
		return r.whole(), true
	case len(r.unread) > 0:
		r.keep(r.unread)
		r.unread = nil
	}
	if r.flush {
		r.flush = false
		if len(r.line) > 0 {
			return r.whole(), true
		}
	}
	if r.notice != "" {
		line := newNotice(r.notice)
		r.notice = ""
		return line, true
	}
	return Line{}, false
}

// keep adds to the line as much as it may hold.
func (r *Reader) keep(part []byte) {
	n := min(len(part), MaxLine-len(r.line))
	r.line = append(r.line, part[:n]...)
	r.cut += int64(len(part) - n)
}

func (r *Reader) whole() Line {
	line := Line{source: r.source, text: r.line, cut: r.cut}
	r.line, r.cut = nil, 0
	return line
}

// fill reads the next block, or takes note of what comes instead of one.
func (r *Reader) fill(ctx context.Context) error {
	// Asked before reading: nobody writes to a file that has a successor, so
	// that its end is its end only then.
	if err := r.extend(); err != nil {
		return err
	}
	if r.flush {
		return nil
	}
	if len(r.chain) > 0 {
		if skipped, err := r.skip(); err != nil || skipped {
			return err
		}
		n, err := r.read()
		if err != nil || n > 0 {
			return err
		}
	}
	switch {
	case len(r.chain) > 1:
		r.drop()
		r.notice = r.chain[0].notice
		r.flush = r.source != SourceOutput || r.notice != ""
	case r.ended && len(r.line) > 0:
		if err := r.finish(ctx); err != nil {
			return err
		}
		r.flush = true
	case r.ended:
		return io.EOF
	default:
		return r.wait(ctx)
	}
	return nil
}

// skip leaves out what is too much to be read of the first file, and says
// whether that was so.
func (r *Reader) skip() (bool, error) {
	first := r.chain[0]
	end := first.end
	if end < 0 {
		info, err := first.Stat()
		if err != nil {
			return false, fmt.Errorf("reading the size of the log: %w", err)
		}
		end = info.Size()
	}
	over := end - first.next - maxUnread
	if over <= 0 {
		return false, nil
	}
	first.next += over
	r.flush = true
	r.notice = fmt.Sprintf("Lines may be missing here: %d bytes of a log file that is larger than any should be are left out", over)
	return true, nil
}

// read reads a block of the first file; 0 bytes at its end.
func (r *Reader) read() (int, error) {
	first := r.chain[0]
	size := len(r.block)
	if first.end >= 0 {
		size = int(min(int64(size), first.end-first.next))
	}
	n, err := first.ReadAt(r.block[:size], first.next)
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, fmt.Errorf("reading the log: %w", err)
	}
	first.next += int64(n)
	r.unread = r.block[:n]
	return n, nil
}

// extend opens the files that have come after the last one that is open, as
// far as they may be kept open.
func (r *Reader) extend() error {
	if r.ended || len(r.chain) > maxAhead {
		return nil
	}
	if r.folder == nil {
		if err := r.openFolder(); err != nil || r.folder == nil {
			return err
		}
	}
	if len(r.chain) > 0 {
		last := r.chain[len(r.chain)-1]
		if info, err := os.Lstat(r.files.path(r.files.current())); err == nil && last.is(info) {
			r.rewind(info.Size())
			return nil
		}
	}
	files, _, err := r.files.open()
	if err != nil || len(files) == 0 {
		return err
	}
	if here, err := r.folderIsHere(); err != nil || !here {
		// They are another stream's.
		closeAll(files)
		r.ended = err == nil
		return err
	}
	r.follows(files)
	return nil
}

// follows appends those of the files that come after the last one.
func (r *Reader) follows(files []*file) {
	notice := ""
	if len(r.chain) > 0 {
		last := r.chain[len(r.chain)-1]
		if i := slices.IndexFunc(files, func(f *file) bool { return last.is(f.info) }); i >= 0 {
			closeAll(files[:i+1])
			files = files[i+1:]
		} else {
			notice = noticeRotated
		}
	}
	for _, f := range files {
		r.chain = append(r.chain, &segment{file: f, end: -1, notice: notice})
		notice = ""
	}
}

// rewind reads a file from its beginning that somebody has emptied.
func (r *Reader) rewind(size int64) {
	if len(r.chain) > 1 || size >= r.chain[0].next {
		return
	}
	r.chain[0].next = 0
	r.flush = true
	r.notice = noticeEmptied
}
