package supervisor

import (
	"fmt"
	"sync"
)

// uidPool gives each stream a user of its own. A user that was given back is
// the last to be given again: files of its stream may be left somewhere.
type uidPool struct {
	first, last uint32

	mu   sync.Mutex
	next uint32
	byID map[string]uint32
	used map[uint32]bool
}

func newUIDPool(r UIDRange) *uidPool {
	return &uidPool{first: r.First, last: r.Last, next: r.First, byID: map[string]uint32{}, used: map[uint32]bool{}}
}

// claim takes the user that a stream had before. One that is out of the range
// or taken is not given: the stream gets another.
func (p *uidPool) claim(id string, uid uint32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if uid < p.first || uid > p.last || p.used[uid] {
		return
	}
	p.byID[id], p.used[uid] = uid, true
	if uid >= p.next {
		p.next = p.after(uid)
	}
}

// of returns the user of a stream, a new one if it has none.
func (p *uidPool) of(id string) (uint32, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if uid, ok := p.byID[id]; ok {
		return uid, nil
	}
	for range p.last - p.first + 1 {
		uid := p.next
		p.next = p.after(uid)
		if !p.used[uid] {
			p.byID[id], p.used[uid] = uid, true
			return uid, nil
		}
	}
	return 0, fmt.Errorf("%w: all %d users of isolation.uids are taken: widen the range or delete streams", ErrNoRoom, p.last-p.first+1)
}

// known is the user of a stream, 0 if it has none.
func (p *uidPool) known(id string) uint32 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.byID[id]
}

// release gives the user of a stream back.
func (p *uidPool) release(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.used, p.byID[id])
	delete(p.byID, id)
}

func (r UIDRange) holds(uid uint32) bool { return uid >= r.First && uid <= r.Last }

func (p *uidPool) after(uid uint32) uint32 {
	if uid == p.last {
		return p.first
	}
	return uid + 1
}
