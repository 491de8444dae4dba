package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"penstock/rpc"
	"penstock/rpc/sharepb"
	"penstock/runner/share"
)

// connected gives a link a connection that serve answers.
func connected(t *testing.T, link *share.Link, serve func(net.Conn)) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	require.NoError(t, err)
	var ends []net.Conn
	for _, fd := range fds {
		file := os.NewFile(uintptr(fd), "end")
		conn, err := net.FileConn(file)
		require.NoError(t, err)
		require.NoError(t, file.Close())
		ends = append(ends, conn)
		t.Cleanup(func() { _ = conn.Close() })
	}
	require.NoError(t, link.Join(ends[0]))
	go serve(ends[1])
}

// TestInprocNumbering: what many goroutines of an output write arrives in the
// order in which it came to the output.
func TestInprocNumbering(t *testing.T) {
	const messages = 5000
	link, pipes := share.NewLink(), share.NewPipes()
	connected(t, link, func(conn net.Conn) { share.Serve(conn, "", nil, pipes) })
	s, err := Prepare(rpc.PrepareRequest{StreamID: "from", Config: []byte(fmt.Sprintf(`
input: {generate: {count: %d, interval: "", batch_size: 2, mapping: 'root = count("numbered")'}}
output:
  inproc: pipe
  processors: [{mapping: 'root = if this %% 7 == 0 { throw("seven") } else { content() }'}]
`, messages))}, slog.New(slog.DiscardHandler), link)
	require.NoError(t, err)
	s.Run()
	want := 0
	for want < messages {
		batch, settle, err := link.Pull(t.Context(), "pipe")
		require.NoError(t, err)
		for _, m := range batch.GetMessages() {
			want++
			assert.Equal(t, fmt.Sprint(want), string(m.GetContent()))
			assert.Equal(t, want%7 == 0, strings.Contains(m.GetError(), "seven"), "%d: %q", want, m.GetError())
			assert.Empty(t, m.GetMetadata(), "the number is not the message's")
		}
		settle(&sharepb.Verdict{})
	}
	awaitDone(t, s)
}

func TestMessagesLeaveTheProcessWhole(t *testing.T) {
	in := service.NewMessage([]byte("content\xff"))
	for key, value := range map[string]any{
		"text": "t\xff", "data": []byte{0, 1}, "integer": int64(-5), "number": 1.5, "truth": true,
		"object": map[string]any{"a": []any{"b", nil}}, "": "no key",
	} {
		in.MetaSetMut(key, value)
	}
	in.SetError(errors.New("it failed"))
	out, err := batchToProto(service.MessageBatch{in, service.NewMessage(nil)})
	require.NoError(t, err)
	back := batchFromProto(out)
	require.Len(t, back, 2)
	content, err := back[0].AsBytes()
	require.NoError(t, err)
	assert.Equal(t, "content\xff", string(content))
	assert.EqualError(t, back[0].GetError(), "it failed")
	assert.NoError(t, back[1].GetError())
	require.NoError(t, in.MetaWalkMut(func(key string, want any) error {
		got, found := back[0].MetaGetMut(key)
		assert.True(t, found, key)
		assert.Equal(t, want, got, key)
		return nil
	}))

	batch := service.MessageBatch{service.NewMessage([]byte("a")), service.NewMessage([]byte("b"))}
	assert.NoError(t, errorOfVerdict(verdictOf(nil, batch.Index()), batch))
	assert.EqualError(t, errorOfVerdict(verdictOf(errors.New("all"), batch.Index()), batch), "all")
	assert.Error(t, errorOfVerdict(verdictOf(errors.New(""), batch.Index()), batch), "an error without a text is one")
	index := batch.Index()
	var single *service.BatchError
	some := service.NewBatchError(batch, errors.New("some")).Failed(1, errors.New("b"))
	require.ErrorAs(t, errorOfVerdict(verdictOf(some, index), batch), &single)
	assert.Equal(t, 1, single.IndexedErrors())
	assert.EqualError(t, single, "some")
}

// hostingOf prepares a resource host with these resources.
func hostingOf(t *testing.T, resources ...rpc.Resource) *Stream {
	t.Helper()
	s, err := Prepare(rpc.PrepareRequest{StreamID: "host", Host: true, Config: []byte("{}"), Resources: resources}, slog.New(slog.DiscardHandler), share.NewLink())
	require.NoError(t, err)
	s.Run()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		assert.NoError(t, s.Stop(ctx))
		awaitDone(t, s)
	})
	return s
}

func memory(id, init string, generation uint64) rpc.Resource {
	return rpc.Resource{Type: "cache", ID: id, Config: []byte("label: " + id + "\nmemory: {init_values: {k: " + init + "}}"), Generation: generation}
}

func TestHostExchangesWhatHasChanged(t *testing.T) {
	s := hostingOf(t, memory("one", "a", 1), memory("two", "b", 2))
	link := share.NewLink()
	connected(t, link, func(conn net.Conn) { assert.NoError(t, s.Serve(conn, "a")) })
	cache := func(label string) *cacheStandIn { return &cacheStandIn{asker{by: link, label: label}} }
	ctx := t.Context()
	require.NoError(t, cache("two").Set(ctx, "own", []byte("kept"), nil))
	require.NoError(t, cache("one").SetMulti(ctx, service.CacheItem{Key: "x", Value: []byte("1")}, service.CacheItem{Key: "y", Value: []byte("2")}))
	require.ErrorIs(t, cache("one").Add(ctx, "y", nil, nil), service.ErrKeyAlreadyExists)
	_, err := cache("one").Get(ctx, "none")
	require.ErrorIs(t, err, service.ErrKeyNotFound)

	refusals, err := s.Share([]rpc.Resource{memory("one", "c", 3), memory("two", "b", 2), {Type: "cache", ID: "bad", Config: []byte("label: bad\nlru: {cap: -1}")}})
	require.NoError(t, err)
	require.Len(t, refusals, 1)
	assert.Equal(t, "bad", refusals[0].ID)
	ready, err := s.Ready()
	require.NoError(t, err)
	assert.False(t, ready.Ready)
	value, err := cache("one").Get(ctx, "k")
	require.NoError(t, err)
	assert.Equal(t, "c", string(value))
	_, err = cache("one").Get(ctx, "x")
	require.ErrorIs(t, err, service.ErrKeyNotFound)
	value, err = cache("two").Get(ctx, "own")
	require.NoError(t, err)
	assert.Equal(t, "kept", string(value))

	// One that names a label learns of it when there is one.
	both := rpc.Resource{Type: "cache", ID: "both", Config: []byte("label: both\nmultilevel: [two, late]"), Generation: 9}
	_, err = s.Share([]rpc.Resource{memory("one", "c", 3), memory("two", "b", 2), both})
	require.NoError(t, err)
	_, err = s.Share([]rpc.Resource{memory("one", "c", 3), memory("two", "b", 2), both, memory("late", "l", 10)})
	require.NoError(t, err)
	require.NoError(t, cache("both").Set(ctx, "deep", []byte("both"), nil))
	value, err = cache("late").Get(ctx, "deep")
	require.NoError(t, err)
	assert.Equal(t, "both", string(value))
	value, err = cache("two").Get(ctx, "own")
	require.NoError(t, err)
	assert.Equal(t, "kept", string(value))

	// What cannot be had is waited for, and had when it can be.
	brief, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
	defer cancel()
	_, err = cache("bad").Get(brief, "k")
	require.ErrorIs(t, err, context.DeadlineExceeded)
	got := make(chan string, 1)
	go func() {
		value, err := cache("bad").Get(ctx, "k")
		assert.NoError(t, err)
		got <- string(value)
	}()
	refusals, err = s.Share([]rpc.Resource{memory("two", "b", 2), memory("bad", "good", 4)})
	require.NoError(t, err)
	assert.Empty(t, refusals)
	assert.Equal(t, "good", <-got)
	ready, err = s.Ready()
	require.NoError(t, err)
	assert.True(t, ready.Ready)

	_, err = prepared(t, "input: {generate: {mapping: root = 1}}\noutput: {drop: {}}").Share(nil)
	assert.ErrorIs(t, err, rpc.ErrNotPrepared)
}

func prepared(t *testing.T, config string) *Stream {
	t.Helper()
	s, err := prepare(t, config)
	require.NoError(t, err)
	return s
}

// ambiguous answers as a host does that was asked twice.
type ambiguous struct{ code sharepb.Response_Code }

func (a ambiguous) Do(context.Context, *sharepb.Request) (*sharepb.Response, bool, error) {
	return &sharepb.Response{Code: a.code}, true, nil
}

// TestAskedTwice: what may have been done by the host that died counts as done.
func TestAskedTwice(t *testing.T) {
	ctx := t.Context()
	exists := &cacheStandIn{asker{by: ambiguous{sharepb.Response_CODE_KEY_ALREADY_EXISTS}, label: "c"}}
	assert.NoError(t, exists.Add(ctx, "k", nil, nil))
	gone := &cacheStandIn{asker{by: ambiguous{sharepb.Response_CODE_KEY_NOT_FOUND}, label: "c"}}
	assert.NoError(t, gone.Delete(ctx, "k"))
	_, err := gone.Get(ctx, "k")
	assert.ErrorIs(t, err, service.ErrKeyNotFound)
}
