package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// connections is how many requests are under way at any time.
const connections = 16

// load is a generator of requests with a set of open connections. It speaks
// just enough HTTP/1.1 to check each answer: what it costs is taken from the
// same cores that the servers run on.
type load struct {
	conns   []net.Conn
	request []byte
}

// dialLoad opens the connections of a load on one path.
func dialLoad(ctx context.Context, s *server, path string) (*load, error) {
	l := &load{request: requestOf(s, path)}
	for range connections {
		conn, err := s.where.dial(ctx, "tcp", s.addr)
		if err != nil {
			l.close()
			return nil, err
		}
		l.conns = append(l.conns, conn)
	}
	return l, nil
}

// requestOf is a call of a stream as it goes over the wire.
func requestOf(s *server, path string) []byte {
	return fmt.Appendf(nil, "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n\r\n%s", path, s.addr, len(question), question)
}

func (l *load) close() {
	for _, conn := range l.conns {
		_ = conn.Close()
	}
}

// run sends requests for the time given, the next one of a connection when the
// last one was answered. It returns how many were answered, all of them right:
// anything else is an error.
func (l *load) run(ctx context.Context, d time.Duration) (int64, error) {
	end := time.Now().Add(d)
	group, working := errgroup.WithContext(ctx)
	keep := context.AfterFunc(working, l.close)
	defer keep()
	var answered atomic.Int64
	for _, conn := range l.conns {
		group.Go(func() error {
			count, err := l.drive(conn, end)
			answered.Add(count)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return 0, fmt.Errorf("after %d right answers: %w", answered.Load(), cmp.Or(context.Cause(ctx), err))
	}
	if answered.Load() == 0 {
		return 0, errors.New("no request was answered")
	}
	return answered.Load(), nil
}

// drive sends one connection's requests until end.
func (l *load) drive(conn net.Conn, end time.Time) (int64, error) {
	if err := conn.SetDeadline(end.Add(answerTimeout)); err != nil {
		return 0, err
	}
	r := bufio.NewReader(conn)
	body := make([]byte, 0, len(answer))
	var count int64
	for time.Now().Before(end) {
		if _, err := conn.Write(l.request); err != nil {
			return count, fmt.Errorf("sending a request: %w", err)
		}
		if err := readRight(r, body); err != nil {
			return count, err
		}
		count++
	}
	return count, nil
}

// readRight reads the answer of the stream, with a buffer for its body.
func readRight(r *bufio.Reader, buf []byte) error {
	body, err := readAnswer(r, buf[:0])
	if err != nil {
		return fmt.Errorf("reading an answer: %w", err)
	}
	if string(body) != answer {
		return fmt.Errorf("the answer was %q instead of %q", body, answer)
	}
	return nil
}

// maxAnswer bounds the body of an answer.
const maxAnswer = 1 << 10

// readAnswer reads one answer, which must be 200 and tell its length, and
// appends its body to buf.
func readAnswer(r *bufio.Reader, buf []byte) ([]byte, error) {
	line, err := r.ReadSlice('\n')
	if err != nil {
		return nil, err
	}
	if !bytes.HasPrefix(line, []byte("HTTP/1.1 200 ")) {
		return nil, fmt.Errorf("the status was %q", bytes.TrimSpace(line))
	}
	length := -1
	for {
		if line, err = r.ReadSlice('\n'); err != nil {
			return nil, err
		}
		line = bytes.TrimSpace(line)
		if len(line) == 0 {
			break
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		if bytes.EqualFold(name, []byte("Content-Length")) {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return nil, fmt.Errorf("the length was %q: %w", value, err)
			}
		}
	}
	if length < 0 || length > maxAnswer {
		return nil, fmt.Errorf("the length was %d: it must be told, and at most %d", length, maxAnswer)
	}
	buf = append(buf, make([]byte, length)...)
	_, err = io.ReadFull(r, buf)
	return buf, err
}
