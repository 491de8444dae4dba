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
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// connections is how many small requests are under way at any time.
const connections = 16

// exchange is a call and its answer.
type exchange struct {
	path, body, answer string
	// connections is how many of them are under way at any time.
	connections int
}

// small is the exchange of most measurements.
func small(path string) exchange {
	return exchange{path: path, body: question, answer: answer, connections: connections}
}

// load is a generator of requests with a set of open connections. It speaks
// just enough HTTP/1.1 to check each answer: what it costs is taken from the
// same cores that the servers run on.
type load struct {
	exchange
	conns   []net.Conn
	request []byte
}

// dialLoad opens the connections of a load.
func dialLoad(ctx context.Context, s *server, e exchange) (*load, error) {
	l := &load{exchange: e, request: requestOf(s, e)}
	for range e.connections {
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
func requestOf(s *server, e exchange) []byte {
	return fmt.Appendf(nil, "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n\r\n%s", e.path, s.addr, len(e.body), e.body)
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
	buf := make([]byte, len(l.answer))
	var count int64
	for time.Now().Before(end) {
		if _, err := conn.Write(l.request); err != nil {
			return count, fmt.Errorf("sending a request: %w", err)
		}
		if err := l.read(r, buf); err != nil {
			return count, err
		}
		count++
	}
	return count, nil
}

// read reads an answer, with a buffer of its length, and checks it.
func (l *load) read(r *bufio.Reader, buf []byte) error {
	if len(l.answer) > maxAnswer {
		return readLarge(r, buf, l.answer)
	}
	return readRight(r, buf, l.answer)
}

// readRight reads an answer that must be one of those given, with a buffer for
// its body.
func readRight(r *bufio.Reader, buf []byte, right ...string) error {
	body, err := readAnswer(r, buf[:0])
	if err != nil {
		return fmt.Errorf("reading an answer: %w", err)
	}
	for _, answer := range right {
		if string(body) == answer {
			return nil
		}
	}
	return fmt.Errorf("the answer was %q instead of %q", body, right)
}

// readLarge reads a large answer in any framing. What a proper client costs
// does not count beside its body.
func readLarge(r *bufio.Reader, buf []byte, right string) error {
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		return fmt.Errorf("reading an answer: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the status was %q", resp.Status)
	}
	if _, err := io.ReadFull(resp.Body, buf); err != nil {
		return fmt.Errorf("reading an answer: %w", err)
	}
	if more, err := io.Copy(io.Discard, resp.Body); err != nil || more > 0 {
		return fmt.Errorf("the answer has %d bytes too many, then %w", more, cmp.Or(err, io.EOF))
	}
	if string(buf) != right {
		return fmt.Errorf("an answer of %d bytes is not what it should be", len(buf))
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
