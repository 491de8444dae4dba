package integration

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"
)

// steady is a load on echo streams that remembers when each failure was, so
// that a test can say when there may be some.
type steady struct {
	*load

	mu     sync.Mutex
	failed []failure
	// answered is when the last good answer came, and gap the longest time
	// between two of them, for each loop.
	answered []time.Time
	gap      []time.Duration
}

// failure is a request without the right answer.
type failure struct {
	began, ended time.Time
	err          error
}

func (f failure) String() string {
	const clock = "15:04:05.000"
	return fmt.Sprintf("%s–%s: %v", f.began.Format(clock), f.ended.Format(clock), f.err)
}

func newSteady(t testing.TB) *steady { return &steady{load: newLoad(t)} }

// post adds a loop of requests to a stream that is echo(id).
func (s *steady) post(base, id string, every time.Duration) {
	s.mu.Lock()
	at := len(s.answered)
	s.answered, s.gap = append(s.answered, time.Time{}), append(s.gap, 0)
	s.mu.Unlock()
	s.loop(base, every, func(ctx context.Context, c *client, n int) error {
		began := time.Now()
		err := echoed(ctx, c, "/"+id+"/post", id, strconv.Itoa(n))
		now := time.Now()
		s.mu.Lock()
		defer s.mu.Unlock()
		if err != nil {
			s.failed = append(s.failed, failure{began, now, err})
			return err
		}
		if last := s.answered[at]; !last.IsZero() {
			s.gap[at] = max(s.gap[at], now.Sub(last))
		}
		s.answered[at] = now
		return nil
	})
}

// outside returns the first failures of requests that were neither sent nor
// under way between two moments, and how many failures there were in all.
func (s *steady) outside(from, to time.Time) (first []failure, all int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.failed {
		if (f.ended.Before(from) || f.began.After(to)) && len(first) < 5 {
			first = append(first, f)
		}
	}
	return first, len(s.failed)
}

// awaitAnswers waits until every loop has been answered once more.
func (s *steady) awaitAnswers(t testing.TB) {
	t.Helper()
	since := time.Now()
	await(t, changeTimeout, "an answer to each client", func() error {
		s.mu.Lock()
		defer s.mu.Unlock()
		for at, last := range s.answered {
			if last.Before(since) {
				return fmt.Errorf("client %d of %d has none", at, len(s.answered))
			}
		}
		return nil
	})
}

// takeGap is the longest time that any loop went without a good answer since
// the last call.
func (s *steady) takeGap() (longest time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for at, gap := range s.gap {
		longest = max(longest, gap)
		s.gap[at] = 0
	}
	return longest.Round(time.Millisecond)
}
