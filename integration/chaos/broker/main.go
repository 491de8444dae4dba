// Command broker is a NATS JetStream server for a test, with a publisher of
// numbered messages and a tally of those that came through. It survives what
// the test kills, so that it alone knows what must have arrived.
//
// Messages go to in.1 … in.N and are expected on out.1 … out.N. Each stream
// under test finds a durable pull consumer, named by its number, on the
// JetStream stream IN. Published is a JSON object {"stream": 1, "n": 0}; what
// arrives must have a field "sum" besides, which is stream + n: proof that it
// went through the mapping.
//
// Standard output carries a report, one JSON object a line, at once and then
// every tenth of a second. A line on standard input begins the publishing; its
// end ends the process, so that no broker outlives its test.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const reportInterval = 100 * time.Millisecond

type options struct {
	// Dir is the folder JetStream stores its messages in.
	Dir string
	// Streams is how many streams there are; Messages is for all of them.
	Streams, Messages int
	// Over is how long the publishing takes.
	Over time.Duration
	// AckWait is how long a message that a killed runner held is kept from
	// its successor.
	AckWait time.Duration
}

func main() {
	var o options
	flag.StringVar(&o.Dir, "dir", "", "folder of JetStream's files")
	flag.IntVar(&o.Streams, "streams", 1, "number of streams")
	flag.IntVar(&o.Messages, "messages", 1, "number of messages to all streams together")
	flag.DurationVar(&o.Over, "over", time.Second, "time the publishing takes")
	flag.DurationVar(&o.AckWait, "ack-wait", 30*time.Second, "time until an unacknowledged message is delivered again")
	flag.Parse()
	if o.Dir == "" || o.Streams < 1 || o.Messages < o.Streams || flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	if err := run(context.Background(), o, os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "broker:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options, in io.Reader, out io.Writer) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	srv, err := serve(o.Dir)
	if err != nil {
		return err
	}
	defer srv.Shutdown()
	conn, err := nats.Connect("", nats.InProcessServer(srv))
	if err != nil {
		return fmt.Errorf("connecting to the server: %w", err)
	}
	defer conn.Close()
	p := &publisher{options: o}
	js, err := jetstream.New(conn, jetstream.WithPublishAsyncMaxPending(4096),
		jetstream.WithPublishAsyncErrHandler(func(_ jetstream.JetStream, m *nats.Msg, err error) {
			cancel(fmt.Errorf("publishing %s: %w", m.Data, err))
		}))
	if err != nil {
		return err
	}
	if err := declare(ctx, js, o); err != nil {
		return err
	}
	tally := newTally(o)
	end, err := tally.consume(ctx, js)
	if err != nil {
		return err
	}
	defer end()

	go func() {
		lines := bufio.NewScanner(in)
		for begun := false; lines.Scan(); begun = true {
			if begun {
				continue
			}
			go func() {
				if err := p.publish(ctx, js); err != nil {
					cancel(err)
				}
			}()
		}
		cancel(io.EOF)
	}()

	reports := json.NewEncoder(out)
	tick := time.NewTicker(reportInterval)
	defer tick.Stop()
	for {
		r := tally.report()
		r.URL, r.Published = srv.ClientURL(), int(p.acknowledged.Load())
		if err := reports.Encode(r); err != nil {
			return fmt.Errorf("reporting: %w", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			if err := context.Cause(ctx); !errors.Is(err, io.EOF) {
				return err
			}
			return nil
		}
	}
}
