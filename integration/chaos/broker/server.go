package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
)

// serve starts a server on a free port of 127.0.0.1.
func serve(dir string) (*server.Server, error) {
	srv, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT,
		JetStream: true, StoreDir: dir,
		NoLog: true, NoSigs: true,
	})
	if err != nil {
		return nil, fmt.Errorf("the server's options: %w", err)
	}
	srv.Start()
	if !srv.ReadyForConnections(30 * time.Second) {
		srv.Shutdown()
		return nil, errors.New("the server was not ready within 30s")
	}
	return srv, nil
}

// declare makes the JetStream streams IN and OUT and a consumer on IN for
// every stream under test. They bind to it: a consumer that they made
// themselves would go, and their place in the stream with it, with the
// subscription.
func declare(ctx context.Context, js jetstream.JetStream, o options) error {
	for name, subject := range map[string]string{"IN": "in.*", "OUT": "out.*"} {
		_, err := js.CreateStream(ctx, jetstream.StreamConfig{
			Name: name, Subjects: []string{subject}, Storage: jetstream.FileStorage,
		})
		if err != nil {
			return fmt.Errorf("creating the stream %s: %w", name, err)
		}
	}
	for n := 1; n <= o.Streams; n++ {
		_, err := js.CreateConsumer(ctx, "IN", jetstream.ConsumerConfig{
			Durable: strconv.Itoa(n), FilterSubject: "in." + strconv.Itoa(n),
			AckPolicy: jetstream.AckExplicitPolicy, AckWait: o.AckWait,
		})
		if err != nil {
			return fmt.Errorf("creating the consumer %d: %w", n, err)
		}
	}
	return nil
}
