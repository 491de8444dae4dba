package share

import (
	"fmt"
	"slices"
	"sync"

	"penstock/rpc/sharepb"
)

// Pipes pass batches from those who push to those who pull, by the names of
// pipes. Nothing is kept: a batch stays its sender's until it is settled.
type Pipes struct {
	mu     sync.Mutex
	byName map[string]*pipe
	last   uint64
	// visits are the connections that there are, by the names of runners.
	visits map[string]*visits
}

// NewPipes makes pipes of any name.
func NewPipes() *Pipes { return &Pipes{byName: map[string]*pipe{}, visits: map[string]*visits{}} }

// pipe is what waits under one name: batches, or those who want one.
type pipe struct {
	pushes []*push
	pulls  []*pull
}

// peer is a connection, seen from the host. What it has under way is guarded by
// the lock of the pipes.
type peer struct {
	*wire
	// name is the runner's at the other end.
	name   string
	pushes map[uint64]*push
	// pushed is what they take, in bytes.
	pushed int
	pulls  map[uint64]*pull
	// deliveries are what it was given and has not settled.
	deliveries map[uint64]*push
}

type push struct {
	from  *peer
	id    uint64
	name  string
	batch *sharepb.Batch
	size  int
	// to has been given it; nil while it waits.
	to *peer
}

// forget has the sender wait for it no more.
func (b *push) forget() {
	delete(b.from.pushes, b.id)
	b.from.pushed -= b.size
}

type pull struct {
	by   *peer
	id   uint64
	name string
}

func (s *Pipes) pipe(name string) *pipe {
	p := s.byName[name]
	if p == nil {
		p = &pipe{}
		s.byName[name] = p
	}
	return p
}

// tidy forgets a pipe at which nobody waits.
func (s *Pipes) tidy(name string) {
	if p := s.byName[name]; p != nil && len(p.pushes) == 0 && len(p.pulls) == 0 {
		delete(s.byName, name)
	}
}

func (s *Pipes) push(from *peer, req *sharepb.Request, size int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if from.full(req.GetId(), size) {
		return
	}
	b := &push{from: from, id: req.GetId(), name: req.GetLabel(), batch: req.GetBatch(), size: size}
	from.pushes[b.id] = b
	from.pushed += size
	s.pass(b, false)
}

// pass gives a batch to who has waited longest, or has it wait itself: behind
// the others, or before them.
func (s *Pipes) pass(b *push, first bool) {
	p := s.pipe(b.name)
	switch {
	case len(p.pulls) > 0:
		to := p.pulls[0]
		p.pulls = p.pulls[1:]
		s.deliver(b, to)
		s.tidy(b.name)
	case first:
		p.pushes = slices.Insert(p.pushes, 0, b)
	default:
		p.pushes = append(p.pushes, b)
	}
}

// stall is a giver's that may give no more to a pipe before something is settled.
// Where all of it is with takers, those who wait for more wait for what cannot
// come, and are told.
func (s *Pipes) stall(giver *peer, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.byName[name]
	if p == nil {
		return
	}
	batches, size, takers := 0, 0, map[*peer]bool{}
	for _, b := range giver.pushes {
		if b.name != name {
			continue
		}
		if b.to == nil {
			// It is had by whoever asks next.
			return
		}
		batches++
		size += b.size
		takers[b.to] = true
	}
	text := fmt.Sprintf("%d batches of %d bytes that were taken from inproc %q are not acknowledged, and its output gives no more before some are: "+
		"give the batching that gathers them a period or a smaller count or byte_size, or have the output give larger batches", batches, size, name)
	for _, w := range slices.Clone(p.pulls) {
		if takers[w.by] {
			delete(w.by.pulls, w.id)
			s.unqueue(w)
			w.by.answer(&sharepb.Response{Id: w.id, Code: sharepb.Response_CODE_ERROR, Error: text})
		}
	}
}

func (s *Pipes) pull(by *peer, req *sharepb.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if by.full(req.GetId(), 0) {
		return
	}
	w := &pull{by: by, id: req.GetId(), name: req.GetLabel()}
	by.pulls[w.id] = w
	p := s.pipe(w.name)
	if len(p.pushes) == 0 {
		p.pulls = append(p.pulls, w)
		return
	}
	b := p.pushes[0]
	p.pushes = p.pushes[1:]
	s.deliver(b, w)
	s.tidy(w.name)
}

// full refuses a request of who has too many already, or too large ones.
func (p *peer) full(id uint64, size int) bool {
	again := p.pushes[id] != nil || p.pulls[id] != nil
	if !again && len(p.pushes)+len(p.pulls) < maxWaiting && p.pushed+size <= maxWaitingBytes {
		return false
	}
	p.answer(&sharepb.Response{Id: id, Code: sharepb.Response_CODE_ERROR, Error: "the stream has too many batches under way"})
	return true
}

func (s *Pipes) deliver(b *push, to *pull) {
	s.last++
	b.to = to.by
	delete(to.by.pulls, to.id)
	to.by.deliveries[s.last] = b
	to.by.answer(&sharepb.Response{Id: to.id, Code: sharepb.Response_CODE_OK, Batch: b.batch, Delivery: s.last})
}

// settle tells the sender of a batch what has become of it.
func (s *Pipes) settle(by *peer, req *sharepb.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, found := by.deliveries[req.GetDelivery()]
	if !found {
		return
	}
	delete(by.deliveries, req.GetDelivery())
	if b.from.pushes[b.id] != b {
		// Its sender waits no more.
		return
	}
	if req.GetVerdict().GetReturned() {
		b.to = nil
		s.pass(b, true)
		return
	}
	b.forget()
	b.from.answer(&sharepb.Response{Id: b.id, Code: sharepb.Response_CODE_OK, Verdict: req.GetVerdict()})
}

// cancel forgets what nobody waits for any more. A batch that somebody has been
// given stays that one's.
func (s *Pipes) cancel(by *peer, id uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if w, found := by.pulls[id]; found {
		delete(by.pulls, id)
		s.unqueue(w)
	}
	if b, found := by.pushes[id]; found {
		b.forget()
		s.withdraw(b)
	}
}

func (s *Pipes) unqueue(w *pull) {
	p := s.pipe(w.name)
	p.pulls = slices.DeleteFunc(p.pulls, func(other *pull) bool { return other == w })
	s.tidy(w.name)
}

func (s *Pipes) withdraw(b *push) {
	p := s.pipe(b.name)
	p.pushes = slices.DeleteFunc(p.pushes, func(other *push) bool { return other == b })
	s.tidy(b.name)
}

// leave is the end of a connection. Batches that it was given and has said
// nothing of are lost, which their senders are told.
func (s *Pipes) leave(p *peer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget(p)
	for _, w := range p.pulls {
		s.unqueue(w)
	}
	for _, b := range p.pushes {
		s.withdraw(b)
	}
	clear(p.pulls)
	clear(p.pushes)
	p.pushed = 0
	for _, b := range p.deliveries {
		if b.from.pushes[b.id] == b {
			b.forget()
			b.from.answer(&sharepb.Response{Id: b.id, Code: sharepb.Response_CODE_LOST})
		}
	}
	clear(p.deliveries)
}
