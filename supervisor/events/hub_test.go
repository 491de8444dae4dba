package events_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"penstock/supervisor/events"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// next fails the test when nothing comes.
func next(t *testing.T, s *events.Subscription) (events.Event, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	e, err := s.Next(ctx)
	require.NoError(t, ctx.Err(), "nothing came")
	return e, err
}

// states reads n events and returns their states.
func states(t *testing.T, s *events.Subscription, n int) []string {
	t.Helper()
	var found []string
	for range n {
		e, err := next(t, s)
		require.NoError(t, err)
		found = append(found, e.State)
	}
	return found
}

// nothing fails the test when an event is there.
func nothing(t *testing.T, s *events.Subscription) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	e, err := s.Next(ctx)
	require.ErrorIs(t, err, context.DeadlineExceeded, "%v", e)
}

func publish(h *events.Hub, stream string, states ...string) {
	for _, state := range states {
		h.Publish(events.Event{Stream: stream, State: state})
	}
}

func TestFromNowOn(t *testing.T) {
	h := events.NewHub(8)
	defer h.Close()
	publish(h, "a", "before")
	all, one := h.Subscribe("", ""), h.Subscribe("a", "")
	defer all.Close()
	defer one.Close()
	publish(h, "a", "1")
	publish(h, "b", "2")
	publish(h, "a", "3")
	assert.Equal(t, []string{"1", "2", "3"}, states(t, all, 3))
	assert.Equal(t, []string{"1", "3"}, states(t, one, 2))
	nothing(t, all)
	nothing(t, one)
}

func TestEvent(t *testing.T) {
	h := events.NewHub(8)
	defer h.Close()
	s := h.Subscribe("", "")
	defer s.Close()
	before := time.Now()
	h.Publish(events.Event{ID: "mine", Stream: "a", From: "starting", State: "running", Revision: 3, PID: 7})
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	h.Publish(events.Event{Stream: "a", From: "running", State: "backoff", Revision: 3, Reason: "oom", At: at})

	first, err := next(t, s)
	require.NoError(t, err)
	assert.WithinRange(t, first.At, before, time.Now())
	epoch, n, _ := strings.Cut(first.ID, "-")
	assert.Equal(t, "1", n)
	assert.NotEmpty(t, epoch)

	second, err := next(t, s)
	require.NoError(t, err)
	text, err := json.Marshal(second)
	require.NoError(t, err)
	assert.JSONEq(t, fmt.Sprintf(`{"id":"%s-2","at":"2026-01-02T03:04:05Z","stream":"a","from":"running","state":"backoff","revision":3,"reason":"oom"}`, epoch), string(text))

	other := events.NewHub(8)
	defer other.Close()
	foreign := other.Subscribe("", "")
	defer foreign.Close()
	publish(other, "a", "1")
	e, err := next(t, foreign)
	require.NoError(t, err)
	assert.False(t, strings.HasPrefix(e.ID, epoch+"-"), "each hub has its epoch")
}

func TestReplay(t *testing.T) {
	h := events.NewHub(4)
	defer h.Close()
	watch := h.Subscribe("", "")
	defer watch.Close()
	var ids []string
	for n := 1; n <= 6; n++ {
		publish(h, []string{"a", "b"}[n%2], strconv.Itoa(n))
		e, err := next(t, watch)
		require.NoError(t, err)
		ids = append(ids, e.ID)
	}
	epoch, _, _ := strings.Cut(ids[0], "-")

	for _, c := range []struct {
		name, stream, after string
		lagged              bool
		want                []string
	}{
		{"the newest", "", ids[5], false, nil},
		{"an older one", "", ids[3], false, []string{"5", "6"}},
		{"the last that is gone", "", ids[1], false, []string{"3", "4", "5", "6"}},
		{"gone, and its next one too", "", ids[0], true, []string{"3", "4", "5", "6"}},
		{"of one stream", "a", ids[2], false, []string{"4", "6"}},
		{"of one stream, after another's", "b", ids[3], false, []string{"5"}},
		{"gone, of one stream", "b", ids[0], true, []string{"3", "5"}},
		{"of another hub", "", "0123456789ab-6", true, []string{"3", "4", "5", "6"}},
		{"yet to come", "", epoch + "-7", true, []string{"3", "4", "5", "6"}},
		{"none", "", epoch + "-0", true, []string{"3", "4", "5", "6"}},
		{"too large", "", epoch + "-18446744073709551616", true, []string{"3", "4", "5", "6"}},
		{"without an epoch", "", "5", true, []string{"3", "4", "5", "6"}},
		{"rubbish", "a", "x-y-z", true, []string{"4", "6"}},
		{"a stream without events", "c", ids[5], false, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := h.Subscribe(c.stream, c.after)
			defer s.Close()
			if c.lagged {
				_, err := next(t, s)
				require.ErrorIs(t, err, events.ErrLagged)
			}
			assert.Equal(t, c.want, states(t, s, len(c.want)))
			nothing(t, s)
		})
	}
}

func TestReplayGoesOn(t *testing.T) {
	h := events.NewHub(8)
	defer h.Close()
	first := h.Subscribe("a", "")
	publish(h, "a", "1", "2", "3")
	e, err := next(t, first)
	require.NoError(t, err)
	first.Close()

	again := h.Subscribe("a", e.ID)
	defer again.Close()
	publish(h, "a", "4")
	assert.Equal(t, []string{"2", "3", "4"}, states(t, again, 3))
}

func TestASlowReaderIsToldOnce(t *testing.T) {
	h := events.NewHub(3)
	defer h.Close()
	slow, other := h.Subscribe("a", ""), h.Subscribe("b", "")
	defer slow.Close()
	defer other.Close()
	publish(h, "b", "b1")
	publish(h, "a", "1", "2", "3", "4", "5")
	_, err := next(t, slow)
	require.ErrorIs(t, err, events.ErrLagged)
	assert.Equal(t, []string{"3", "4", "5"}, states(t, slow, 3))
	publish(h, "a", "6")
	assert.Equal(t, []string{"6"}, states(t, slow, 1))

	// What other streams do costs a reader nothing.
	assert.Equal(t, []string{"b1"}, states(t, other, 1))
	nothing(t, other)

	// Exactly as many as there is room for is not too many.
	publish(h, "a", "7", "8", "9")
	assert.Equal(t, []string{"7", "8", "9"}, states(t, slow, 3))
}

func TestClose(t *testing.T) {
	h := events.NewHub(4)
	waiting, behind, closed := h.Subscribe("a", ""), h.Subscribe("b", ""), h.Subscribe("", "")
	publish(h, "b", "1")
	ended := make(chan error, 1)
	go func() {
		_, err := waiting.Next(context.Background())
		ended <- err
	}()
	closed.Close()
	closed.Close()
	_, err := next(t, closed)
	require.ErrorIs(t, err, io.EOF, "what it had not read is gone")

	h.Close()
	h.Close()
	require.ErrorIs(t, <-ended, io.EOF)
	assert.Equal(t, []string{"1"}, states(t, behind, 1))
	for range 2 {
		_, err = next(t, behind)
		require.ErrorIs(t, err, io.EOF)
	}
	publish(h, "b", "2")
	_, err = next(t, behind)
	require.ErrorIs(t, err, io.EOF)
	_, err = next(t, h.Subscribe("", ""))
	require.ErrorIs(t, err, io.EOF)
	for _, s := range []*events.Subscription{waiting, behind} {
		s.Close()
	}
}

func TestCloseEndsAWaitingNext(t *testing.T) {
	h := events.NewHub(4)
	defer h.Close()
	s := h.Subscribe("", "")
	ended := make(chan error, 1)
	go func() {
		_, err := s.Next(context.Background())
		ended <- err
	}()
	s.Close()
	require.ErrorIs(t, <-ended, io.EOF)
}

func TestNextEndsWithItsContext(t *testing.T) {
	h := events.NewHub(4)
	defer h.Close()
	s := h.Subscribe("", "")
	defer s.Close()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	publish(h, "a", "1")
	_, err := s.Next(ctx)
	require.ErrorIs(t, err, context.Canceled)
	assert.Equal(t, []string{"1"}, states(t, s, 1), "it is not lost for that")
}

func TestSubscriptionsCostNoGoroutine(t *testing.T) {
	h := events.NewHub(4)
	defer h.Close()
	before := runtime.NumGoroutine()
	for range 1000 {
		defer h.Subscribe("", "").Close()
	}
	assert.LessOrEqual(t, runtime.NumGoroutine(), before)
}

// Many publish, and many read at their own pace: each reader sees its events
// in order, and each once, or is told that it did not.
func TestManyAtOnce(t *testing.T) {
	const publishers, each, keep = 8, 500, 64
	h := events.NewHub(keep)
	type result struct{ seen, lags int }
	read := func(s *events.Subscription, stream string, slow bool) (result, error) {
		defer s.Close()
		var r result
		newest := map[string]int{}
		number := uint64(0)
		for {
			e, err := s.Next(context.Background())
			switch {
			case errors.Is(err, io.EOF):
				return r, nil
			case errors.Is(err, events.ErrLagged):
				r.lags++
				continue
			case err != nil:
				return r, err
			}
			r.seen++
			_, n, _ := strings.Cut(e.ID, "-")
			id, err := strconv.ParseUint(n, 10, 64)
			own, _ := strconv.Atoi(e.State)
			if err != nil || id <= number || own <= newest[e.Stream] || stream != "" && stream != e.Stream {
				return r, fmt.Errorf("%v after number %d, %v", e, number, newest)
			}
			number, newest[e.Stream] = id, own
			if slow {
				runtime.Gosched()
			}
		}
	}

	var readers, writers sync.WaitGroup
	for i := range 24 {
		stream := ""
		if i%3 > 0 {
			stream = fmt.Sprintf("s%d", i%publishers)
		}
		s := h.Subscribe(stream, "")
		readers.Go(func() {
			r, err := read(s, stream, i%2 == 0)
			assert.NoError(t, err)
			want := each
			if stream == "" {
				want *= publishers
			}
			if r.lags == 0 {
				assert.Equal(t, want, r.seen, "reader %d of %q", i, stream)
			} else {
				assert.Less(t, r.seen, want, "reader %d of %q was told of a loss that was none", i, stream)
			}
			assert.GreaterOrEqual(t, r.seen, keep)
		})
	}
	for i := range publishers {
		writers.Go(func() {
			for n := range each {
				publish(h, fmt.Sprintf("s%d", i), strconv.Itoa(n+1))
				if n%100 == 0 {
					h.Subscribe("", "").Close()
				}
			}
		})
	}
	writers.Wait()
	h.Close()
	readers.Wait()
}

func BenchmarkPublish(b *testing.B) {
	for _, readers := range []int{0, 1, 100} {
		b.Run(strconv.Itoa(readers), func(b *testing.B) {
			h := events.NewHub(1000)
			defer h.Close()
			for range readers {
				h.Subscribe("", "") // it never reads
			}
			for b.Loop() {
				h.Publish(events.Event{Stream: "a", State: "running"})
			}
		})
	}
}
