// Command s3 is an S3 server for a test, which keeps its objects in memory. It
// survives what the test kills.
//
// The buckets are those named on the command line. Standard output carries one
// line, the URL of the server; the end of standard input ends the process, so
// that no server outlives its test.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
)

// headerTimeout bounds the wait for a request's header.
const headerTimeout = 10 * time.Second

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "s3:", err)
		os.Exit(1)
	}
}

func run(buckets []string) error {
	objects := s3mem.New()
	for _, name := range buckets {
		if err := objects.CreateBucket(name); err != nil {
			return fmt.Errorf("creating the bucket %s: %w", name, err)
		}
	}
	var lc net.ListenConfig
	listener, err := lc.Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listening: %w", err)
	}
	srv := &http.Server{Handler: gofakes3.New(objects).Server(), ReadHeaderTimeout: headerTimeout}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(listener) }()
	fmt.Printf("http://%s\n", listener.Addr())
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		return fmt.Errorf("waiting for the end of standard input: %w", err)
	}
	err = srv.Close()
	if ended := <-served; !errors.Is(ended, http.ErrServerClosed) {
		err = errors.Join(err, ended)
	}
	return err
}
