package engine

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"penstock/rpc"
	"penstock/runner/share"
)

// lines are what a logger has been told at the level of errors.
type lines struct {
	slog.Handler
	mu   sync.Mutex
	said []string
}

func (l *lines) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelError }
func (l *lines) WithAttrs([]slog.Attr) slog.Handler               { return l }
func (l *lines) WithGroup(string) slog.Handler                    { return l }

func (l *lines) Handle(_ context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.said = append(l.said, r.Message)
	return nil
}

func (l *lines) has(text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range l.said {
		if strings.Contains(line, text) {
			return true
		}
	}
	return false
}

// TestInprocTakerThatGathersTooMuch: a taker that waits for more than its giver may
// have under way says so in its log, whether messages or bytes are too many.
func TestInprocTakerThatGathersTooMuch(t *testing.T) {
	type of struct{ mapping, batching, want string }
	takers := map[*lines]of{}
	for _, of := range []of{
		{`root = "x"`, "count: 5000", "1024 batches of "},
		{`root = "x".repeat(1048576)`, "byte_size: 67108864", "15 batches of "},
		{`meta m = "x".repeat(1048576)`, "count: 100", "15 batches of "},
		{`root = "x".repeat(20000000)`, "byte_size: 67108864", "1 batches of "},
	} {
		pipes := share.NewPipes()
		begin := func(id, config string, log *lines) {
			link := share.NewLink()
			connected(t, link, func(conn net.Conn) { share.Serve(conn, "", nil, pipes) })
			s, err := Prepare(rpc.PrepareRequest{StreamID: id, MaxSeries: 1000, Config: []byte(config)}, slog.New(log), link)
			require.NoError(t, err)
			s.Run()
			t.Cleanup(func() {
				// It has what it cannot get rid of.
				ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
				defer cancel()
				_ = s.Stop(ctx)
				awaitDone(t, s)
			})
		}
		taker := &lines{}
		takers[taker] = of
		begin("to", fmt.Sprintf("input: {inproc: pipe}\noutput: {broker: {outputs: [{drop: {}}], batching: {%s}}}", of.batching), taker)
		begin("from", fmt.Sprintf("input: {generate: {interval: '', mapping: '%s'}}\noutput: {inproc: pipe}", of.mapping), &lines{})
	}
	for taker, of := range takers {
		require.Eventually(t, func() bool { return taker.has(of.want) && taker.has(`taken from inproc "pipe" are not acknowledged`) },
			share.StallPatience+patience, 50*time.Millisecond, "%s", of.batching)
	}
}
