package share

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"penstock/rpc/sharepb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait of these tests.
const patience = time.Minute

// store is a Backend that sets and gets, and has an operation wait that asks for
// the key "hang".
type store struct {
	mu    sync.Mutex
	items map[string][]byte
	hangs chan struct{}
}

// Do implements Backend.
func (s *store) Do(ctx context.Context, req *sharepb.Request) *sharepb.Response {
	if string(req.GetKey()) == "hang" {
		s.hangs <- struct{}{}
		<-ctx.Done()
		return &sharepb.Response{Code: sharepb.Response_CODE_CANCELED}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if req.GetKind() == sharepb.Request_KIND_GET {
		value, found := s.items[string(req.GetKey())]
		if !found {
			return &sharepb.Response{Code: sharepb.Response_CODE_KEY_NOT_FOUND}
		}
		return &sharepb.Response{Code: sharepb.Response_CODE_OK, Value: value}
	}
	s.items[string(req.GetKey())] = req.GetValue()
	return &sharepb.Response{Code: sharepb.Response_CODE_OK}
}

// hosting serves links as a resource host does, until the test ends.
type hosting struct {
	store *store
	pipes *Pipes
}

func newHosting() *hosting {
	return &hosting{store: &store{items: map[string][]byte{}, hangs: make(chan struct{}, 10)}, pipes: NewPipes()}
}

// connect gives a link a connection; cut ends it.
func (h *hosting) connect(t *testing.T, l *Link) (cut func()) {
	t.Helper()
	near, far := net.Pipe()
	require.NoError(t, l.Join(near))
	served := make(chan struct{})
	go func() {
		defer close(served)
		Serve(far, "", h.store, h.pipes)
	}()
	cut = sync.OnceFunc(func() {
		_ = far.Close()
		<-served
		l.mu.Lock()
		c := l.conn
		l.mu.Unlock()
		if c != nil && c.conn == near {
			<-c.over
		}
	})
	t.Cleanup(cut)
	return cut
}

// awaitPipes waits until somebody waits at that many pipes.
func (h *hosting) awaitPipes(t *testing.T, count int) {
	t.Helper()
	await(t, func() bool {
		h.pipes.mu.Lock()
		defer h.pipes.mu.Unlock()
		return len(h.pipes.byName) == count
	})
}

func TestManyOperationsAtOnce(t *testing.T) {
	h, l := newHosting(), NewLink()
	h.connect(t, l)
	var group sync.WaitGroup
	for i := range 50 {
		group.Go(func() {
			for j := range 100 {
				key := []byte(fmt.Sprintf("%d/%d\xff", i, j))
				_, retried, err := l.Do(t.Context(), &sharepb.Request{Kind: sharepb.Request_KIND_SET, Key: key, Value: key})
				assert.NoError(t, err)
				assert.False(t, retried)
				resp, _, err := l.Do(t.Context(), &sharepb.Request{Kind: sharepb.Request_KIND_GET, Key: key})
				assert.NoError(t, err)
				assert.Equal(t, key, resp.GetValue())
			}
		})
	}
	group.Wait()
	resp, _, err := l.Do(t.Context(), &sharepb.Request{Kind: sharepb.Request_KIND_GET, Key: []byte("none")})
	require.NoError(t, err)
	assert.Equal(t, sharepb.Response_CODE_KEY_NOT_FOUND, resp.GetCode())
}

func TestLargeAndTooLarge(t *testing.T) {
	h, l := newHosting(), NewLink()
	h.connect(t, l)
	large := []byte(strings.Repeat("x", 3<<20))
	_, _, err := l.Do(t.Context(), &sharepb.Request{Kind: sharepb.Request_KIND_SET, Key: []byte("k"), Value: large})
	require.NoError(t, err)
	resp, _, err := l.Do(t.Context(), &sharepb.Request{Kind: sharepb.Request_KIND_GET, Key: []byte("k")})
	require.NoError(t, err)
	assert.Equal(t, large, resp.GetValue())
	_, _, err = l.Do(t.Context(), &sharepb.Request{Kind: sharepb.Request_KIND_SET, Value: make([]byte, MaxFrameBytes)})
	assert.ErrorContains(t, err, "make smaller batches")
	_, _, err = l.Do(t.Context(), &sharepb.Request{Kind: sharepb.Request_KIND_GET, Key: []byte("k")})
	assert.NoError(t, err, "the connection is none the worse for it")
}

// awaitWanting waits until a link misses a connection again.
func awaitWanting(t *testing.T, l *Link, number uint64) {
	t.Helper()
	late := time.After(patience)
	for {
		wanting, news := l.Wanting()
		if wanting == number {
			return
		}
		select {
		case <-news:
		case <-late:
			t.Fatalf("the link misses connection %d and not %d", wanting, number)
		}
	}
}

func TestOperationWaitsForAConnection(t *testing.T) {
	h, l := newHosting(), NewLink()
	assert.False(t, l.Used())
	number, _ := l.Wanting()
	assert.Zero(t, number)
	brief, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, l.Await(brief), context.DeadlineExceeded)
	assert.True(t, l.Used())
	done := make(chan error, 1)
	go func() {
		_, retried, err := l.Do(t.Context(), &sharepb.Request{Kind: sharepb.Request_KIND_SET, Key: []byte("k")})
		assert.False(t, retried)
		done <- err
	}()
	awaitWanting(t, l, 1)
	cut := h.connect(t, l)
	require.NoError(t, <-done)
	near, far := net.Pipe()
	assert.ErrorIs(t, l.Join(near), ErrConnected)
	require.NoError(t, errors.Join(near.Close(), far.Close()))

	// It is asked again what was not answered, and known that it may have been
	// carried out.
	go func() {
		_, retried, err := l.Do(t.Context(), &sharepb.Request{Kind: sharepb.Request_KIND_ADD, Key: []byte("hang")})
		assert.True(t, retried)
		done <- err
	}()
	<-h.store.hangs
	cut()
	awaitWanting(t, l, 2)
	other := newHosting()
	second := make(chan struct{})
	go func() {
		defer close(second)
		<-other.store.hangs
	}()
	cut = other.connect(t, l)
	<-second
	ctx, end := context.WithCancel(t.Context())
	waits := make(chan error, 1)
	go func() {
		_, _, err := l.Do(ctx, &sharepb.Request{Key: []byte("hang")})
		waits <- err
	}()
	<-other.store.hangs
	end()
	require.ErrorIs(t, <-waits, context.Canceled)
	cut()
	awaitWanting(t, l, 3)
	last := newHosting()
	last.store.hangs = make(chan struct{}, 1)
	cut = last.connect(t, l)
	<-last.store.hangs
	// The answer of a host that ends is one, too.
	cut()
	awaitWanting(t, l, 4)
	near, far = net.Pipe()
	require.NoError(t, l.Join(near))
	w := newWire(far)
	go w.write()
	go func() {
		in := newFrames(far)
		req := &sharepb.Request{}
		assert.NoError(t, in.next(req))
		assert.NoError(t, w.send(&sharepb.Response{Id: req.GetId(), Code: sharepb.Response_CODE_OK}))
	}()
	require.NoError(t, <-done)
	w.close()
	await(t, func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.conn == nil
	})
}

func await(t *testing.T, cond func() bool) {
	t.Helper()
	require.Eventually(t, cond, patience, time.Millisecond)
}

func batchOf(texts ...string) *sharepb.Batch {
	b := &sharepb.Batch{}
	for _, text := range texts {
		b.Messages = append(b.Messages, &sharepb.Message{Content: []byte(text)})
	}
	return b
}

func text(b *sharepb.Batch) string {
	var out []string
	for _, m := range b.GetMessages() {
		out = append(out, string(m.GetContent()))
	}
	return strings.Join(out, ",")
}

func TestPipes(t *testing.T) {
	h, from, to := newHosting(), NewLink(), NewLink()
	h.connect(t, from)
	cut := h.connect(t, to)
	verdicts := make(chan *sharepb.Verdict, 10)
	push := func(b *sharepb.Batch) {
		sent := make(chan struct{})
		go func() {
			v, err := from.Push(t.Context(), "p", b, func() { close(sent) })
			assert.NoError(t, err)
			verdicts <- v
		}()
		<-sent
	}
	for i := range 5 {
		push(batchOf(fmt.Sprint(i), "x"))
	}
	var settles []func(*sharepb.Verdict)
	for i := range 5 {
		b, settle, err := to.Pull(t.Context(), "p")
		require.NoError(t, err)
		assert.Equal(t, fmt.Sprintf("%d,x", i), text(b), "they keep their order")
		settles = append(settles, settle)
	}
	assert.Empty(t, verdicts, "nothing is settled by itself")
	settles[3](&sharepb.Verdict{Error: "no", Failures: []*sharepb.Failure{{Index: 1, Error: "not x"}}})
	v := <-verdicts
	assert.Equal(t, "no", v.GetError())
	assert.Equal(t, "not x", v.GetFailures()[0].GetError())
	settles[0](&sharepb.Verdict{})
	assert.Empty(t, (<-verdicts).GetError())
	// One that is given back is had again, before all others.
	push(batchOf("later"))
	settles[1](&sharepb.Verdict{Returned: true})
	await(t, func() bool {
		h.pipes.mu.Lock()
		defer h.pipes.mu.Unlock()
		return len(h.pipes.pipe("p").pushes) == 2
	})
	b, _, err := to.Pull(t.Context(), "p")
	require.NoError(t, err)
	assert.Equal(t, "1,x", text(b))

	// What a taker has not settled when it goes is pushed again.
	cut()
	h.connect(t, to)
	seen := map[string]bool{}
	for range 4 {
		b, settle, err := to.Pull(t.Context(), "p")
		require.NoError(t, err)
		seen[text(b)] = true
		settle(&sharepb.Verdict{})
		assert.Empty(t, (<-verdicts).GetError())
	}
	assert.Equal(t, map[string]bool{"1,x": true, "2,x": true, "4,x": true, "later": true}, seen)
}

// TestPullThatEnds: who waits no more is given nothing, and costs nothing that it
// was given in the same moment.
func TestPullThatEnds(t *testing.T) {
	h, from, to := newHosting(), NewLink(), NewLink()
	h.connect(t, from)
	h.connect(t, to)
	var pulled atomic.Int64
	const batches = 200
	var pushing sync.WaitGroup
	pushing.Go(func() {
		for i := range batches {
			_, err := from.Push(t.Context(), "p", batchOf(fmt.Sprint(i)), func() {})
			assert.NoError(t, err)
		}
	})
	for attempt := 0; pulled.Load() < batches; attempt++ {
		wait := 200 * time.Microsecond
		if attempt%10 == 0 {
			wait = time.Second
		}
		ctx, cancel := context.WithTimeout(t.Context(), wait)
		b, settle, err := to.Pull(ctx, "p")
		cancel()
		if err == nil {
			assert.Equal(t, fmt.Sprint(pulled.Load()), text(b))
			pulled.Add(1)
			settle(&sharepb.Verdict{})
		}
	}
	pushing.Wait()
	h.awaitPipes(t, 0)
}

// TestPushThatEnds: a batch that its sender has withdrawn is nobody's.
func TestPushThatEnds(t *testing.T) {
	h, from, to := newHosting(), NewLink(), NewLink()
	h.connect(t, from)
	h.connect(t, to)
	ctx, cancel := context.WithCancel(t.Context())
	sent := make(chan struct{})
	failed := make(chan error, 1)
	go func() {
		_, err := from.Push(ctx, "p", batchOf("withdrawn"), func() { close(sent) })
		failed <- err
	}()
	<-sent
	h.awaitPipes(t, 1)
	cancel()
	require.ErrorIs(t, <-failed, context.Canceled)
	h.awaitPipes(t, 0)
	go func() {
		_, err := from.Push(t.Context(), "p", batchOf("kept"), func() {})
		failed <- err
	}()
	b, settle, err := to.Pull(t.Context(), "p")
	require.NoError(t, err)
	assert.Equal(t, "kept", text(b))
	settle(&sharepb.Verdict{})
	require.NoError(t, <-failed)
	_, err = from.Push(t.Context(), "p", &sharepb.Batch{Messages: []*sharepb.Message{{Content: make([]byte, MaxFrameBytes)}}}, func() {})
	assert.ErrorContains(t, err, "make smaller batches")
}

// TestHostileFrames: what is no request ends its own connection.
func TestHostileFrames(t *testing.T) {
	for name, bytes := range map[string][]byte{
		"too long":    {0xff, 0xff, 0xff, 0xff},
		"no message":  {0, 0, 0, 2, 0xff, 0xff},
		"half a head": {0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHosting()
			near, far := net.Pipe()
			served := make(chan struct{})
			go func() {
				defer close(served)
				Serve(far, "", h.store, h.pipes)
			}()
			_, err := near.Write(bytes)
			require.NoError(t, err)
			if name == "half a head" {
				require.NoError(t, near.Close())
			}
			select {
			case <-served:
			case <-time.After(patience):
				t.Fatal("it is served still")
			}
			_ = near.Close()
		})
	}
}
