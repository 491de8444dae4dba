package main

import (
	"context"
	"encoding/json"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// message is what is published and, with Sum, what has to arrive.
type message struct {
	// Stream counts from 1, N from 0.
	Stream int  `json:"stream"`
	N      int  `json:"n"`
	Sum    *int `json:"sum,omitempty"`
}

type publisher struct {
	options
	// acknowledged is how many messages the server has stored.
	acknowledged atomic.Int64
}

// publish sends all messages, to each stream in turn, at an even pace. It
// returns when the server has stored the last one.
func (p *publisher) publish(ctx context.Context, js jetstream.JetStream) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	began := time.Now()
	for sent := 0; sent < p.Messages; {
		due := min(p.Messages, int(float64(p.Messages)*float64(time.Since(began))/float64(p.Over)))
		for ; sent < due; sent++ {
			m := message{Stream: sent%p.Streams + 1, N: sent / p.Streams}
			text, err := json.Marshal(m)
			if err != nil {
				return err
			}
			if _, err := js.PublishAsync(fmt.Sprintf("in.%d", m.Stream), text); err != nil {
				return fmt.Errorf("publishing %s: %w", text, err)
			}
		}
		p.acknowledged.Store(int64(sent - js.PublishAsyncPending()))
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
	select {
	case <-js.PublishAsyncComplete():
		p.acknowledged.Store(int64(p.Messages))
	case <-ctx.Done():
	}
	return nil
}
