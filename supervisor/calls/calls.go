package calls

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"
	"go.uber.org/zap"

	"penstock/supervisor/store"
)

// Streams is what carries calls out. Its methods may be called by any number of
// goroutines.
type Streams interface {
	// Await returns nil once the stream can be called. Its error wraps ErrNoStream
	// when it does not exist; any other one means that nobody knows at the moment.
	Await(ctx context.Context, stream string) error
	// Call asks the stream. An error that wraps ErrNoStream or ErrDown says that
	// nothing was sent. The answer's body is to be closed.
	Call(ctx context.Context, stream string, r *http.Request) (*http.Response, error)
}

// Observer is told what becomes of calls.
type Observer interface {
	// CallAccepted is a call that was kept.
	CallAccepted()
	// CallRefused is one that was not: too_large, busy, full, forbidden.
	CallRefused(reason string)
	// CallEnded is one that is done, failed or canceled.
	CallEnded(how string)
	// CallbackTried is an attempt of a callback that was delivered, is to be
	// retried, or has failed for good.
	CallbackTried(result string)
}

// Calls are all calls of all streams. Its methods may be called by any number
// of goroutines.
type Calls struct {
	cfg      Config
	streams  Streams
	observer Observer
	log      *zap.Logger
	allow    allowList
	secret   []byte
	client   http.RoundTripper
	file     *store.File
	commits  committer

	// life ends when nothing more is begun, work when what was begun is cut off.
	life, work       context.Context
	endLife, endWork context.CancelFunc
	group            sync.WaitGroup
	closing          sync.Once

	mu       sync.Mutex
	started  bool
	quitting bool
	// next is the number of the next call.
	next     uint64
	byID     map[string]*entry
	byStream map[string]*stream
	// taken is what all calls take, with what is reserved for answers.
	taken int64
	// freed is closed, and replaced, when there is more room than before.
	freed chan struct{}
}

// entry is a call as it is kept in memory. What its fields point to never
// changes.
type entry struct {
	seq    uint64
	stream *stream
	record
	// due is when it may be tried again.
	due time.Time
	// begun says that an attempt was made that the file does not know of.
	begun bool
	// reserved is what is kept free for its answer, until that is in the file.
	reserved int64
	// cancel cuts its attempt off; nil while there is none.
	cancel context.CancelFunc
	// forgotten says that it was deleted, and orphaned that its stream was.
	forgotten, orphaned bool
	// ended is closed once nothing more comes of it.
	ended chan struct{}
}

// stream is the calls of one stream.
type stream struct {
	id string
	// entries are how many there are, open those that have not ended, taken what
	// they take.
	entries, open    int
	taken            int64
	calls, callbacks lane
}

// Open opens the file at path, and creates it where there is none. Nothing is
// carried out before Start.
//
// Errors: those of store.OpenFile, and a config that is not valid.
func Open(path string, cfg Config, streams Streams, observer Observer, log *zap.Logger) (*Calls, error) {
	allow, err := parseAllow(cfg.Callbacks.Allow)
	if err != nil {
		return nil, err
	}
	secret, err := readSecret(cfg.Callbacks.SecretFile)
	if err != nil {
		return nil, err
	}
	c := &Calls{
		cfg: cfg, streams: streams, observer: observer, log: log, allow: allow, secret: secret,
		byID: map[string]*entry{}, byStream: map[string]*stream{}, freed: make(chan struct{}),
	}
	c.client = allow.transport(cfg.Callbacks.Timeout)
	c.life, c.endLife = context.WithCancel(context.Background())
	c.work, c.endWork = context.WithCancel(context.Background())
	if c.file, err = store.OpenFile(path, advice, fill); err != nil {
		return nil, err
	}
	c.commits = committer{file: c.file, turn: make(chan struct{}, 1)}
	if err = c.load(); err == nil {
		err = c.compact()
	}
	if err != nil {
		_ = c.file.Shut()
		return nil, err
	}
	return c, nil
}

// load takes over what earlier supervisors have left.
func (c *Calls) load() error {
	var held loaded
	err := c.file.Read(func(tx *bolt.Tx) (err error) {
		held, err = load(tx)
		return err
	})
	if err != nil {
		return err
	}
	if !held.clean {
		for seq, r := range held.records {
			if !r.Call.Status.ended() {
				// It may have been under way.
				r.Call.Attempts++
				held.records[seq] = r
			}
		}
	}
	err = c.file.Write(func(btx *bolt.Tx) error {
		tx := transaction{btx}
		for seq, r := range held.records {
			if held.clean || r.Call.Status.ended() {
				continue
			}
			if err := tx.putJSON(bucketCalls, keyOf(seq), r); err != nil {
				return err
			}
		}
		return tx.putJSON(bucketMeta, []byte(keyClean), false)
	})
	switch {
	case err == nil:
	case errors.Is(err, store.ErrFull) && !held.clean:
		// The file says already that attempts may have been made; how many they were
		// is for the next start to say.
		c.log.Warn("the attempts of calls cannot be kept", zap.Error(err))
	default:
		return err
	}
	for seq, r := range held.records {
		c.next = max(c.next, seq+1)
		c.add(&entry{seq: seq, record: r, stream: c.streamOf(r.Call.Stream), ended: make(chan struct{})})
	}
	return nil
}

// Start begins to carry calls out.
func (c *Calls) Start() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.started || c.quitting {
		return
	}
	c.started = true
	for _, s := range c.byStream {
		c.wake(s)
	}
	c.group.Go(c.sweep)
}

// Quit begins nothing more. What is under way may go on until Close.
func (c *Calls) Quit() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.quitting = true
	c.endLife()
}

// Close ends everything, cuts off what is still under way once the context has
// ended, and closes the file. Calls that were not answered stay in it.
func (c *Calls) Close(ctx context.Context) error {
	c.Quit()
	stop := context.AfterFunc(ctx, c.endWork)
	c.group.Wait()
	stop()
	c.endWork()
	var err error
	c.closing.Do(func() {
		err = c.commits.commit(c.leave)
		if shut := c.file.Shut(); err == nil {
			err = shut
		}
	})
	return err
}

// leave has the next supervisor know that nothing is under way.
func (c *Calls) leave(tx transaction) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range c.byID {
		if !e.begun || e.Call.Status.ended() {
			continue
		}
		r := e.record
		r.Call.Status = Queued
		if err := tx.putJSON(bucketCalls, keyOf(e.seq), r); err != nil {
			return err
		}
	}
	return tx.putJSON(bucketMeta, []byte(keyClean), true)
}

// streamOf returns the calls of a stream. The caller has the lock, or is alone.
func (c *Calls) streamOf(id string) *stream {
	s := c.byStream[id]
	if s == nil {
		s = &stream{id: id, calls: lane{wake: make(chan struct{}, 1)}, callbacks: lane{wake: make(chan struct{}, 1)}}
		c.byStream[id] = s
	}
	return s
}

// add takes a call that is in the file into account. The caller has the lock, or
// is alone.
func (c *Calls) add(e *entry) {
	c.byID[e.Call.ID] = e
	e.stream.entries++
	c.take(e.stream, e.size())
	switch {
	case !e.Call.Status.ended():
		e.stream.open++
		e.stream.calls.push(e)
		if e.Call.NextAttemptAt != nil {
			e.due = *e.Call.NextAttemptAt
		}
	default:
		close(e.ended)
		if e.awaitsCallback() {
			e.stream.callbacks.push(e)
			if e.Call.Callback.NextAttemptAt != nil {
				e.due = *e.Call.Callback.NextAttemptAt
			}
		}
	}
}

func (e *entry) awaitsCallback() bool {
	return e.Call.Callback != nil && e.Call.Callback.Status == CallbackPending
}

// take counts bytes, or fewer of them. The caller has the lock, or is alone.
func (c *Calls) take(s *stream, bytes int64) {
	s.taken += bytes
	c.taken += bytes
	if bytes < 0 {
		close(c.freed)
		c.freed = make(chan struct{})
	}
}

// answerRoom is what an attempt reserves for its answer.
func (c *Calls) answerRoom() int64 { return int64(c.cfg.MaxResult) + headerBytes }

// Get returns a call, or ErrUnknown. Where it has not ended it is awaited, until
// the context ends.
func (c *Calls) Get(ctx context.Context, id string) (Call, error) {
	e, err := c.find(id)
	if err != nil {
		return Call{}, err
	}
	select {
	case <-e.ended:
	case <-ctx.Done():
	case <-c.life.Done():
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if e.forgotten {
		return Call{}, ErrUnknown
	}
	return e.Call, nil
}

func (c *Calls) find(id string) (*entry, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.byID[id]
	if e == nil || e.forgotten {
		return nil, ErrUnknown
	}
	return e, nil
}

// Answer returns what the stream answered to a call, or an error that wraps
// ErrNoResult when it did not, or not yet, or when that was delivered already.
func (c *Calls) Answer(id string) (Call, Answer, error) {
	e, err := c.find(id)
	if err != nil {
		return Call{}, Answer{}, err
	}
	var value []byte
	err = c.file.Read(func(tx *bolt.Tx) (err error) {
		value, err = transaction{tx}.get(bucketResults, keyOf(e.seq))
		return err
	})
	if errors.Is(err, store.ErrClosed) {
		err = ErrClosed
	}
	if err != nil {
		return Call{}, Answer{}, err
	}
	c.mu.Lock()
	call, forgotten := e.Call, e.forgotten
	c.mu.Unlock()
	switch {
	case forgotten:
		return Call{}, Answer{}, ErrUnknown
	case value == nil && call.Status == Done:
		return call, Answer{}, fmt.Errorf("%w any more: it was delivered to its callback", ErrNoResult)
	case value == nil && call.Status == Failed:
		return call, Answer{}, fmt.Errorf("%w: it has failed: %s", ErrNoResult, call.Reason)
	case value == nil:
		return call, Answer{}, fmt.Errorf("%w yet", ErrNoResult)
	}
	header, body, err := apart(bucketResults, keyOf(e.seq), value)
	return call, Answer{Header: header, Body: body}, err
}

// List returns the calls that are asked for, the newest first, and whether there
// are more.
func (c *Calls) List(q Query) (found []Call, more bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	before := c.next
	if q.Before != "" {
		e := c.byID[q.Before]
		if e == nil {
			return nil, false, ErrUnknown
		}
		before = e.seq
	}
	var entries []*entry
	for _, e := range c.byID {
		if e.seq < before && !e.forgotten && (q.Stream == "" || e.Call.Stream == q.Stream) && (q.Status == "" || e.Call.Status == q.Status) {
			entries = append(entries, e)
		}
	}
	slices.SortFunc(entries, func(a, b *entry) int { return int(int64(b.seq) - int64(a.seq)) })
	found = []Call{}
	for _, e := range entries {
		if q.Limit > 0 && len(found) == q.Limit {
			return found, true, nil
		}
		found = append(found, e.Call)
	}
	return found, false, nil
}

// Figures are how many calls there are of each status, and the bytes they take.
func (c *Calls) Figures() (byStatus map[string]int, bytes int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	byStatus = map[string]int{}
	for _, status := range Statuses {
		byStatus[string(status)] = 0
	}
	for _, e := range c.byID {
		byStatus[string(e.Call.Status)]++
	}
	return byStatus, c.taken
}
