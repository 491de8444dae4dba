package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const (
	// startTimeout bounds the time from exec to the first answered /ping.
	startTimeout = 30 * time.Second
	// stopTimeout is what a supervisor may take to drain its runners.
	stopTimeout = 25 * time.Second
	// answerTimeout bounds each request.
	answerTimeout = 30 * time.Second
)

// server is a process under measurement.
type server struct {
	// name tells what it is in messages.
	name string
	// addr is its host:port, in the place where it runs.
	addr  string
	where place
	// supervisor says that its streams have processes of their own.
	supervisor bool

	cmd    *exec.Cmd
	log    string
	client *http.Client
	exited chan struct{}
}

// startPenstock starts the supervisor with a data folder of its own. args are
// further flags.
func (b *bench) startPenstock(ctx context.Context, where place, args ...string) (*server, error) {
	dir, err := os.MkdirTemp(b.dir, "p")
	if err != nil {
		return nil, err
	}
	return b.startPenstockIn(ctx, where, dir, args...)
}

// startPenstockIn starts a supervisor whose data folder is below dir, where
// another may have left its runners. These wait for the next one no longer
// than for a benchmark that was killed.
func (b *bench) startPenstockIn(ctx context.Context, where place, dir string, args ...string) (*server, error) {
	addrFile := filepath.Join(dir, "address")
	s, err := b.start(where, "penstock", append([]string{"serve", "--listen", "127.0.0.1:0", "--addr-file", addrFile,
		"--data-dir", filepath.Join(dir, "d"), "--set", "orphan_timeout=30s"}, args...)...)
	if err != nil {
		return nil, err
	}
	s.supervisor = true
	s.name = strings.Join(append([]string{s.name}, args...), " ")
	err = s.await(ctx, func() error {
		addr, err := os.ReadFile(addrFile)
		if err != nil {
			return err
		}
		s.addr = strings.TrimSpace(string(addr))
		return s.ping(ctx)
	})
	if err != nil {
		s.stop()
		return nil, err
	}
	return s, nil
}

// startStreamsMode starts the engine's streams mode.
func (b *bench) startStreamsMode(ctx context.Context) (*server, error) {
	return b.startOnFreePort(ctx, func(config string) (*server, error) {
		return b.start(host{}, "reference", "streams", "-o", config)
	}, "", (*server).ping)
}

// startBare starts the engine as users do without any streams mode: one
// process with one config.
func (b *bench) startBare(ctx context.Context) (*server, error) {
	return b.startOnFreePort(ctx, func(config string) (*server, error) {
		return b.start(host{}, bareBinary, "run", config)
	}, streamConfig, (*server).ping)
}

// firstAnswer starts the same, and ends it when it has answered a call. It
// tells how long that took from exec on.
func (b *bench) firstAnswer(ctx context.Context) (time.Duration, error) {
	var begun time.Time
	s, err := b.startOnFreePort(ctx, func(config string) (*server, error) {
		begun = time.Now()
		return b.start(host{}, bareBinary, "run", config)
	}, streamConfig, func(s *server, ctx context.Context) error { return s.answers(ctx, "/post", answer) })
	took := time.Since(begun)
	if err == nil {
		s.stop()
	}
	return took, err
}

// startOnFreePort writes a config with an address, starts a server with it, and
// waits until it is ready.
// The engine cannot be told port 0, and another process may take a port
// between the choice and the bind: then the next one is tried.
func (b *bench) startOnFreePort(ctx context.Context, start func(config string) (*server, error), config string, ready func(*server, context.Context) error) (*server, error) {
	var last error
	for range 5 {
		addr, err := freeAddress()
		if err != nil {
			return nil, err
		}
		file := filepath.Join(b.dir, strings.ReplaceAll(addr, ":", "_")+".yaml")
		if err := os.WriteFile(file, fmt.Appendf(nil, "http:\n  address: %s\n%s", addr, config), 0o600); err != nil {
			return nil, err
		}
		s, err := start(file)
		if err != nil {
			return nil, err
		}
		s.addr = addr
		if last = s.await(ctx, func() error { return ready(s, ctx) }); last == nil {
			return s, nil
		}
		s.stop()
		if ctx.Err() != nil {
			break
		}
	}
	return nil, last
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// start starts a binary in a process group of its own, so that a terminal's
// Ctrl-C leaves its end to stop.
func (b *bench) start(where place, binary string, args ...string) (*server, error) {
	log, err := b.newLog(binary)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	s := &server{name: binary, where: where, log: log.Name(), exited: make(chan struct{})}
	s.cmd = exec.Command(b.binary(binary), args...)
	s.cmd.Stdout, s.cmd.Stderr = log, log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := where.start(s.cmd); err != nil {
		return nil, fmt.Errorf("starting %s: %w", binary, err)
	}
	s.client = &http.Client{Transport: &http.Transport{DialContext: where.dial, MaxIdleConnsPerHost: connections}, Timeout: answerTimeout}
	go func() {
		// How it ended is in cmd.ProcessState then.
		_ = s.cmd.Wait()
		close(s.exited)
	}()
	return s, nil
}

// newLog makes the file of all that a server prints. It is appended to, so that
// it can be emptied meanwhile.
func (b *bench) newLog(binary string) (*os.File, error) {
	file, err := os.CreateTemp(b.dir, binary+"-*.log")
	if err != nil {
		return nil, err
	}
	if err := file.Close(); err != nil {
		return nil, err
	}
	return os.OpenFile(file.Name(), os.O_WRONLY|os.O_APPEND, 0)
}

// await asks ready until it returns nil.
func (s *server) await(ctx context.Context, ready func() error) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		err := ready()
		if exit := s.alive(); exit != nil {
			return exit
		}
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s did not start: %w: %w", s.name, context.Cause(ctx), err)
		case <-time.After(time.Millisecond):
		}
	}
}

// alive returns an error, with the end of the log, once the process is gone.
func (s *server) alive() error {
	select {
	case <-s.exited:
		log, err := os.ReadFile(s.log)
		const tail = 2000
		return errors.Join(fmt.Errorf("%s has ended (%s): %s", s.name, s.cmd.ProcessState, log[max(0, len(log)-tail):]), err)
	default:
		return nil
	}
}

// stop ends the process and all that it started. A supervisor gets the time to
// drain its runners, the others have none.
func (s *server) stop() {
	s.client.CloseIdleConnections()
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err == nil {
		select {
		case <-s.exited:
			return
		case <-time.After(stopTimeout):
		}
	}
	left, err := children(s.cmd.Process.Pid)
	_ = s.cmd.Process.Kill()
	<-s.exited
	if err == nil {
		for _, pid := range left {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

// stopAll ends several servers at once.
func stopAll(servers []*server) {
	done := make(chan struct{})
	for _, s := range servers {
		go func() {
			s.stop()
			done <- struct{}{}
		}()
	}
	for range servers {
		<-done
	}
}

func (s *server) ping(ctx context.Context) error {
	_, err := s.call(ctx, http.MethodGet, "/ping", "")
	return err
}

// call sends a request and returns the body of its answer, which must be 200.
func (s *server) call(ctx context.Context, method, path, body string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://"+s.addr+path, strings.NewReader(body))
	if err != nil {
		return "", err
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", fmt.Errorf("%s %s: reading the answer: %w", method, path, err)
	}
	if resp.StatusCode != http.StatusOK {
		return "", &statusError{request: method + " " + path, code: resp.StatusCode, text: string(text)}
	}
	return string(text), nil
}

// statusError is an answer that is not 200.
type statusError struct {
	request string
	code    int
	text    string
}

func (e *statusError) Error() string {
	return fmt.Sprintf("%s answered %d %s: %s", e.request, e.code, http.StatusText(e.code), e.text)
}

// refusal is empty unless a server said that a config is wrong, because of a key
// in it which it may not know.
func refusal(err error, key string) string {
	if said := (*statusError)(nil); errors.As(err, &said) && said.code == http.StatusBadRequest {
		return fmt.Sprintf("the server refuses %s: %s", key, said.text)
	}
	return ""
}
