package main

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"
)

// sink counts the messages of streams where they end: each stream's output
// counts what arrives there, drops it, and tells the sink every markEvery
// messages how many there were. The clock is the sink's own.
type sink struct {
	listener net.Listener
	done     sync.WaitGroup

	mu    sync.Mutex
	conns []net.Conn
	// marks are of one connection each, which is one stream.
	marks map[net.Conn][]mark
	fault error
}

// mark says that so many messages had ended at a time.
type mark struct {
	at    time.Time
	count int64
}

// markEvery is how many messages there are from one mark to the next: few
// enough to be seen often, many enough to cost nothing.
const markEvery = 500

// countedConfig is a stream without an end whose output counts for a sink.
const countedConfig = `input:
  generate:
    interval: ""
    mapping: root = "hello there"
pipeline:
  processors:
    - mapping: root = content().uppercase()
output:
  processors:
    - mapping: meta ended = counter()
  switch:
    cases:
      - check: meta("ended").number() %% %d == 0
        output:
          socket: {network: tcp, address: %q, codec: lines}
          processors:
            - mapping: root = meta("ended")
      - output:
          drop: {}
`

func newSink() (*sink, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &sink{listener: l, marks: map[net.Conn][]mark{}}
	s.done.Go(s.accept)
	return s, nil
}

// config is a stream that counts for this sink.
func (s *sink) config() string {
	return fmt.Sprintf(countedConfig, markEvery, s.listener.Addr())
}

func (s *sink) accept() {
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			return // it is closed
		}
		s.mu.Lock()
		s.conns = append(s.conns, conn)
		s.mu.Unlock()
		s.done.Go(func() { s.read(conn) })
	}
}

func (s *sink) read(conn net.Conn) {
	lines := bufio.NewScanner(conn)
	for lines.Scan() {
		at := time.Now()
		count, err := strconv.ParseInt(lines.Text(), 10, 64)
		s.mu.Lock()
		if err != nil {
			s.fault = fmt.Errorf("a mark: %w", err)
		}
		s.marks[conn] = append(s.marks[conn], mark{at, count})
		s.mu.Unlock()
	}
}

// close waits until nobody reads any more.
func (s *sink) close() {
	_ = s.listener.Close()
	s.mu.Lock()
	for _, conn := range s.conns {
		_ = conn.Close()
	}
	s.mu.Unlock()
	s.done.Wait()
}

// awaitAll waits until each of so many streams has had two marks since a time.
func (s *sink) awaitAll(ctx context.Context, streams int, since time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	for {
		rates, err := s.rates(since)
		if err != nil || len(rates) == streams {
			return err
		}
		if err := pause(ctx, time.Millisecond); err != nil {
			return fmt.Errorf("%d of %d streams have sent messages: %w", len(rates), streams, err)
		}
	}
}

// rates are the messages a second of each stream that had two marks since a
// time, from the first to the last of them: nothing is lost by when the time
// was.
func (s *sink) rates(since time.Time) ([]float64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var rates []float64
	for _, marks := range s.marks {
		first := 0
		for first < len(marks) && marks[first].at.Before(since) {
			first++
		}
		last := len(marks) - 1
		if last <= first || !marks[last].at.After(marks[first].at) {
			continue
		}
		rates = append(rates, float64(marks[last].count-marks[first].count)/marks[last].at.Sub(marks[first].at).Seconds())
	}
	return rates, s.fault
}
