package calls

import (
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"penstock/supervisor/store"
)

// The bounds of how often is looked for what has become too old.
const (
	leastSweep = 100 * time.Millisecond
	mostSweep  = 15 * time.Second
)

// sweep forgets results that have expired and fails calls that have waited for
// too long, until the end.
func (c *Calls) sweep() {
	every := min(c.cfg.Keep, c.cfg.MaxAge) / 10
	ticker := time.NewTicker(min(max(every, leastSweep), mostSweep))
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			c.sweepOnce(time.Now())
		case <-c.life.Done():
			return
		}
	}
}

func (c *Calls) sweepOnce(now time.Time) {
	var expired, old []*entry
	c.mu.Lock()
	for _, e := range c.byID {
		switch {
		case e.Call.ExpiresAt != nil && now.After(*e.Call.ExpiresAt):
			expired = append(expired, e)
		case e.Call.Status == Queued && now.Sub(e.Call.AcceptedAt) > c.cfg.MaxAge:
			old = append(old, e)
		}
	}
	c.mu.Unlock()
	for len(expired) > 0 {
		batch := expired[:min(len(expired), mostShared)]
		expired = expired[len(batch):]
		// Were it to fail, the next sweep tries again.
		_ = c.forget(batch)
	}
	c.mu.Lock()
	why := make(map[*entry]string, len(old))
	for _, e := range old {
		why[e] = fmt.Sprintf("stream %q could not answer within %s, the server's calls.max_age", e.Call.Stream, c.cfg.MaxAge)
		if e.Call.Reason != "" {
			why[e] += ": " + e.Call.Reason
		}
	}
	c.mu.Unlock()
	for e, reason := range why {
		c.giveUp([]*entry{e}, reason)
	}
}

// compact gives back what calls have taken that are over. That it cannot be done
// is no reason not to start.
func (c *Calls) compact() error {
	freed, err := c.file.Compact()
	switch {
	case errors.Is(err, store.ErrUnwritable):
		return err
	case err != nil:
		c.log.Warn("the file of calls stays as large as it is", zap.Error(err))
	case freed > 0:
		c.log.Info("made the file of calls smaller", zap.Int64("bytes_freed", freed))
	}
	return nil
}
