package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/fnv"
	"io"
	"os"
)

// The layout of a bbolt file, version 2. Integers are in the machine's order.
const (
	boltMagic      = 0xED0CDAED
	boltVersion    = 2
	minPageSize    = 1 << 10
	maxPageSize    = 64 << 10
	pageHeader     = 16
	elementSize    = 16
	bucketHeader   = 16
	metaEnd        = 80 // of a header page: where the header itself ends
	flagBranch     = 0x01
	flagLeaf       = 0x02
	flagMeta       = 0x04
	flagFreelist   = 0x10
	elementBucket  = 0x01
	manyFree       = 0xFFFF // count of a freelist whose length is its first element
	maxDepth       = 64     // of pages; with two keys a page, more than a disk can hold
	noFreelist     = ^uint64(0)
	firstDataPage  = 2
	checksumOffset = 72
)

var order = binary.NativeEndian

// header is one of the two that take turns at describing the newest tree.
type header struct {
	pageSize                      int64
	root, freelist, pages, commit uint64
}

// checker walks every page that the newest header leads to, by plain reads.
type checker struct {
	file io.ReaderAt
	header
	used []bool // by page
}

// verify finds out whether the library can map the file and follow it without
// coming to harm, and whether each page is accounted for. It only reads.
// Damage is reported as *damage, a failing disk as it is.
func verify(file *os.File) error {
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if info.Size() == 0 {
		return damaged("it is empty")
	}
	newest, err := readHeaders(file)
	if err != nil {
		return err
	}
	if newest.pages < firstDataPage || newest.pages > uint64(info.Size()/newest.pageSize) {
		return damaged("it was cut off: %d pages of %d bytes do not fit into %d bytes", newest.pages, newest.pageSize, info.Size())
	}
	c := &checker{file: file, header: newest, used: make([]bool, newest.pages)}
	c.used[0], c.used[1] = true, true
	if err := c.freePages(); err != nil {
		return err
	}
	if err := c.tree(c.root, 0, nil, nil); err != nil {
		return err
	}
	for id, used := range c.used {
		if !used {
			return damaged("page %d is lost: it is neither used nor free", id)
		}
	}
	return nil
}

// readHeaders returns the newer of the two headers, which must both be sound.
func readHeaders(file io.ReaderAt) (header, error) {
	first, err := readHeader(file, 0, 0)
	if err != nil {
		return header{}, err
	}
	second, err := readHeader(file, 1, first.pageSize)
	if err != nil {
		return header{}, err
	}
	if first.pageSize != second.pageSize {
		return header{}, damaged("its two headers disagree about the page size")
	}
	if second.commit > first.commit {
		return second, nil
	}
	return first, nil
}

func readHeader(file io.ReaderAt, id uint64, offset int64) (header, error) {
	page := make([]byte, metaEnd)
	if err := readFull(file, page, offset); err != nil {
		return header{}, err
	}
	if order.Uint32(page[16:]) != boltMagic {
		if id == 0 {
			return header{}, damaged("it is not a state file of Penstock, or its beginning is damaged")
		}
		return header{}, damaged("header %d is damaged", id)
	}
	if version := order.Uint32(page[20:]); version != boltVersion {
		return header{}, damaged("it is of version %d of bbolt's format, not %d", version, boltVersion)
	}
	sum := fnv.New64a()
	_, _ = sum.Write(page[pageHeader:checksumOffset])
	if sum.Sum64() != order.Uint64(page[checksumOffset:]) {
		return header{}, damaged("header %d does not match its checksum", id)
	}
	if order.Uint64(page) != id || order.Uint16(page[8:]) != flagMeta {
		return header{}, damaged("header %d is marked as another page", id)
	}
	h := header{
		pageSize: int64(order.Uint32(page[24:])),
		root:     order.Uint64(page[32:]), freelist: order.Uint64(page[48:]),
		pages: order.Uint64(page[56:]), commit: order.Uint64(page[64:]),
	}
	if h.pageSize < minPageSize || h.pageSize > maxPageSize || h.pageSize&(h.pageSize-1) != 0 {
		return header{}, damaged("header %d gives a page size of %d bytes", id, h.pageSize)
	}
	return h, nil
}

// freePages reads the list of pages that are in no use.
func (c *checker) freePages() error {
	if c.freelist == noFreelist {
		// The library would begin by writing one.
		return damaged("it has no list of free pages: another program wrote it")
	}
	page, err := c.page(c.freelist)
	if err != nil {
		return err
	}
	if flags := order.Uint16(page[8:]); flags != flagFreelist {
		return damaged("page %d has type %#x, not that of a list of free pages", c.freelist, flags)
	}
	list := page[pageHeader:]
	count := uint64(order.Uint16(page[10:]))
	if count == manyFree {
		count, list = order.Uint64(list), list[8:]
	}
	if count > uint64(len(list)/8) {
		return damaged("page %d lists more free pages than it has room for", c.freelist)
	}
	last := uint64(0)
	for i := range count {
		id := order.Uint64(list[8*i:])
		if id <= last {
			return damaged("page %d lists free pages out of order", c.freelist)
		}
		if err := c.use(id, 1); err != nil {
			return err
		}
		last = id
	}
	return nil
}

// tree walks the page id and those below it, whose keys lie in [low, high);
// nil is no bound.
func (c *checker) tree(id uint64, depth int, low, high []byte) error {
	if depth > maxDepth {
		return damaged("page %d lies too deep", id)
	}
	page, err := c.page(id)
	if err != nil {
		return err
	}
	switch flags := order.Uint16(page[8:]); flags {
	case flagLeaf:
		return c.leaf(id, page, depth, low, high)
	case flagBranch:
		return c.branch(id, page, depth, low, high)
	default:
		return damaged("page %d has type %#x, not that of data", id, flags)
	}
}

func (c *checker) branch(id uint64, page []byte, depth int, low, high []byte) error {
	count := int(order.Uint16(page[10:]))
	if count == 0 {
		return damaged("page %d leads nowhere", id)
	}
	keys, children := make([][]byte, count), make([]uint64, count)
	for i := range count {
		at, ok := element(page, i)
		if !ok {
			return damaged("page %d: element %d lies outside", id, i)
		}
		keys[i], ok = span(page, at, order.Uint32(page[at:]), 0, order.Uint32(page[at+4:]))
		if !ok {
			return damaged("page %d: key %d lies outside", id, i)
		}
		children[i] = order.Uint64(page[at+8:])
	}
	if err := ordered(id, keys, low, high); err != nil {
		return err
	}
	for i, child := range children {
		end := high
		if i+1 < count {
			end = keys[i+1]
		}
		if err := c.tree(child, depth+1, keys[i], end); err != nil {
			return err
		}
	}
	return nil
}

func (c *checker) leaf(id uint64, page []byte, depth int, low, high []byte) error {
	count := int(order.Uint16(page[10:]))
	keys := make([][]byte, count)
	for i := range count {
		at, ok := element(page, i)
		if !ok {
			return damaged("page %d: element %d lies outside", id, i)
		}
		flags, pos := order.Uint32(page[at:]), order.Uint32(page[at+4:])
		keySize, valueSize := order.Uint32(page[at+8:]), order.Uint32(page[at+12:])
		value, ok := span(page, at, pos, keySize, valueSize)
		if !ok {
			return damaged("page %d: entry %d lies outside", id, i)
		}
		keys[i], _ = span(page, at, pos, 0, keySize)
		switch flags {
		case 0:
		case elementBucket:
			if err := c.bucket(id, value, depth); err != nil {
				return err
			}
		default:
			return damaged("page %d: entry %d has type %#x", id, i, flags)
		}
	}
	return ordered(id, keys, low, high)
}

// bucket walks a bucket within the page id: a small one lies there as a whole.
func (c *checker) bucket(id uint64, value []byte, depth int) error {
	if len(value) < bucketHeader {
		return damaged("page %d: a bucket is cut off", id)
	}
	if root := order.Uint64(value); root != 0 {
		return c.tree(root, depth+1, nil, nil)
	}
	within := value[bucketHeader:]
	if depth > maxDepth || len(within) < pageHeader || order.Uint16(within[8:]) != flagLeaf {
		return damaged("page %d: a bucket within it is damaged", id)
	}
	return c.leaf(id, within, depth+1, nil, nil)
}

// page reads the page id and what it overflows into, each of which only one
// place may refer to.
func (c *checker) page(id uint64) ([]byte, error) {
	if id < firstDataPage || id >= c.pages {
		return nil, damaged("it refers to page %d of %d", id, c.pages)
	}
	head := make([]byte, pageHeader)
	if err := readFull(c.file, head, int64(id)*c.pageSize); err != nil {
		return nil, err
	}
	if found := order.Uint64(head); found != id {
		return nil, damaged("page %d is marked as page %d", id, found)
	}
	count := uint64(order.Uint32(head[12:])) + 1
	if err := c.use(id, count); err != nil {
		return nil, err
	}
	page := make([]byte, int64(count)*c.pageSize)
	return page, readFull(c.file, page, int64(id)*c.pageSize)
}

// use notes that count pages from id on belong to one place, and no other.
func (c *checker) use(id, count uint64) error {
	if id < firstDataPage || id >= c.pages || count > c.pages-id {
		return damaged("it refers to %d pages from page %d, of %d", count, id, c.pages)
	}
	for ; count > 0; id, count = id+1, count-1 {
		if c.used[id] {
			return damaged("page %d is used twice", id)
		}
		c.used[id] = true
	}
	return nil
}

// element returns where element i begins.
func element(page []byte, i int) (int, bool) {
	at := pageHeader + i*elementSize
	return at, at+elementSize <= len(page)
}

// span returns size bytes that follow skip bytes from pos on, counted from at.
func span(page []byte, at int, pos, skip, size uint32) ([]byte, bool) {
	begin := uint64(at) + uint64(pos) + uint64(skip)
	end := begin + uint64(size)
	if end > uint64(len(page)) {
		return nil, false
	}
	return page[begin:end], true
}

// ordered checks that keys ascend within [low, high).
func ordered(id uint64, keys [][]byte, low, high []byte) error {
	for i, key := range keys {
		switch {
		case i == 0 && bytes.Compare(key, low) < 0,
			i > 0 && bytes.Compare(key, keys[i-1]) <= 0,
			high != nil && bytes.Compare(key, high) >= 0:
			return damaged("page %d: key %d is out of order", id, i)
		}
	}
	return nil
}

// readFull reads len(buf) bytes; the end of the file is damage, not a failure
// of the disk.
func readFull(file io.ReaderAt, buf []byte, offset int64) error {
	_, err := file.ReadAt(buf, offset)
	if errors.Is(err, io.EOF) {
		return damaged("it was cut off at %d bytes or earlier", offset+int64(len(buf)))
	}
	return err
}
