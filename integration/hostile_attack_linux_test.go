package integration

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// hostileCallTime bounds one request of a config's own. Some have no answer.
	hostileCallTime = 4 * time.Second
	// hostileKeep is how much of an answer is looked at. Some have no end, and
	// hundreds of megabytes of them would keep this process from timing anything.
	hostileKeep = 8 << 20
	// hostileEvery is how often an attack is looked at.
	hostileEvery = 60 * time.Millisecond
	// hostileTime bounds the wait for an outcome: on a busy machine a stream needs
	// a while for what it is up to.
	hostileTime = 45 * time.Second
	// hostileTaste is how long a stream that runs is left to do what it does.
	hostileTaste = 700 * time.Millisecond
)

// attack is one hostile config in action.
type attack struct {
	hostileConfig
	world  *hostileWorld
	server *client
	// words are filled in beside the world's.
	words []string

	// created is the answer to the config, or to what came before it.
	created answer
	// status is the last one seen, as its text and as far as it counts.
	status wholeStatus
	text   string
	log    string

	mu sync.Mutex
	// answers are those of the config's own requests, in words.
	answers []string
	// known are the secrets of which an answer of the server's has told.
	known []string
}

func newAttack(h hostileConfig, world *hostileWorld, server *client, words ...string) *attack {
	a := &attack{hostileConfig: h, world: world, server: server, words: append(words, "{{id}}", h.ID)}
	a.server = newClientIn(world, server.Base)
	return a
}

func (a *attack) fill(text string) string { return a.world.fill(text, slices.Clone(a.words)...) }

// ask is client.ask that looks for secrets in the answer.
func (a *attack) ask(ctx context.Context, r request) (answer, error) {
	said, err := a.server.ask(ctx, r)
	found := append(a.world.leaks(said.Body), a.world.leaks(fmt.Append(nil, said.Header))...)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.known = append(a.known, found...)
	return said, err
}

// leaks names the secrets that were told so far.
func (a *attack) leaks() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	slices.Sort(a.known)
	return slices.Compact(slices.Clone(a.known))
}

// get is ask for what can only be read.
func (a *attack) get(ctx context.Context, path string) (answer, error) {
	return a.ask(ctx, request{Method: http.MethodGet, Path: path})
}

// post makes the requests up to the config's own, of which the last answer
// counts.
func (a *attack) post(ctx context.Context) (err error) {
	for _, call := range a.Before {
		a.created, err = a.ask(ctx, request{Method: call.Method, Path: a.fill(call.Path), Body: generated(a.fill(call.Body)), Header: call.Header})
		if err != nil || a.created.Status != http.StatusOK {
			return err
		}
	}
	path := "/streams/" + a.fill(a.ID)
	if a.Chilled {
		path += "?chilled=true"
	}
	begun := time.Now()
	for {
		a.created, err = a.ask(ctx, request{Method: http.MethodPost, Path: path, Body: a.fill(a.Config)})
		if err != nil || !a.starved() || time.Since(begun) > hostileTime {
			return err
		}
	}
}

// starved says that there was too little processor time for a config that is
// in order, which the answer says and which leaves nothing behind.
func (a *attack) starved() bool {
	return a.Outcome != hostileRefused && (a.created.Status == http.StatusServiceUnavailable ||
		bytes.Contains(a.created.Body, []byte("linting and building the config took longer")))
}

// call makes the requests that follow.
func (a *attack) call(ctx context.Context) error {
	for _, call := range a.Calls {
		var group sync.WaitGroup
		errs := make([]error, max(1, call.AtOnce))
		for i := range errs {
			group.Go(func() { errs[i] = a.callOnce(ctx, call) })
		}
		group.Wait()
		if err := errors.Join(errs...); err != nil {
			return err
		}
	}
	return nil
}

func (a *attack) callOnce(ctx context.Context, call hostileCall) error {
	r := request{
		Method: call.Method, Path: a.fill(call.Path), Body: generated(a.fill(call.Body)), Header: call.Header,
		Keep: hostileKeep,
	}
	timeout := hostileCallTime
	if call.Patient {
		timeout = hostileTime
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	said, err := a.ask(ctx, r)
	text := said.String()
	for name, values := range said.Header {
		text += fmt.Sprintf(" %s: %.200q", name, values)
	}
	if err != nil {
		text = "no answer"
	}
	text = fmt.Sprintf("%s %s: %s", call.Method, a.fill(call.Path), text)
	a.mu.Lock()
	if !slices.Contains(a.answers, text) {
		a.answers = append(a.answers, text)
	}
	a.mu.Unlock()
	if call.Status != 0 && (err != nil || said.Status != call.Status) {
		return fmt.Errorf("%s (%w) instead of %d", text, err, call.Status)
	}
	return nil
}

// gzipBomb is a quarter of a gibibyte of zeros, packed.
var gzipBomb = sync.OnceValue(func() string {
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	_, _ = io.CopyN(w, zeros{}, 256<<20)
	_ = w.Close()
	return packed.String()
})

// generated makes what is too large for a file.
func generated(body string) string {
	switch body {
	case "GZIP":
		return gzipBomb()
	case "PROGRAM":
		program, _ := os.ReadFile("/bin/sh")
		return string(program)
	case "LARGE":
		return strings.Repeat("x", 48<<20)
	case "DEEP":
		return strings.Repeat("[", 5<<20)
	}
	return body
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// dawdle opens connections that never get to the end of their request, until
// the context ends.
func (a *attack) dawdle(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var all sync.WaitGroup
	for range a.Slow {
		all.Go(func() {
			conn, err := a.world.dial(ctx, "tcp", strings.TrimPrefix(a.server.Base, "http://"))
			if err != nil {
				return
			}
			defer conn.Close()
			_, _ = fmt.Fprintf(conn, "POST /%s/post HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n", a.ID)
			tick := time.NewTicker(200 * time.Millisecond)
			defer tick.Stop()
			for {
				select {
				case <-ctx.Done():
					return
				case <-tick.C:
					_, _ = conn.Write([]byte("x"))
				}
			}
		})
	}
	return func() { cancel(); all.Wait() }
}

// look asks the server how the stream is.
func (a *attack) look(ctx context.Context) error {
	status, err := a.get(ctx, "/streams/"+a.ID+"/status")
	if err != nil {
		return err
	}
	if status.Status != http.StatusOK {
		return fmt.Errorf("its status: %s", status)
	}
	var seen wholeStatus
	if err := json.Unmarshal(status.Body, &seen); err != nil {
		return fmt.Errorf("its status: %w: %s", err, status)
	}
	a.status, a.text = seen, status.Text()
	log, err := a.get(ctx, "/streams/"+a.ID+"/logs?tail=200")
	if err != nil {
		return err
	}
	a.log = log.Text()
	return nil
}

// outcome says what is missing of the config's outcome.
func (a *attack) outcome() error {
	if leaks := a.leaks(); len(leaks) > 0 {
		return fmt.Errorf("%w: %q is known", errHopeless, leaks)
	}
	switch s := a.status; {
	case a.Outcome == hostileRuns && (s.State != "running" || s.Restarts > 0),
		a.Outcome == hostileStays && s.State != "running",
		a.Outcome == hostileFinishes && s.State != "finished",
		a.Outcome == hostileEnds && s.LastExit == nil,
		a.Outcome == hostileEnds && s.LastExit.Reason != a.Exit:
		return fmt.Errorf("the outcome is not %s %s: the status is %s, the answers are %q, the log is\n%s", a.Outcome, a.Exit, a.text, a.answers, a.log)
	}
	for _, says := range a.Never {
		if found := a.quote(says); found != "" {
			return fmt.Errorf("%q is said: %w", found, errHopeless)
		}
	}
	for _, says := range slices.Concat(a.Says, a.Shows) {
		if a.quote(says) == "" {
			return fmt.Errorf("nothing says %q: the status is %s, the answers are %q, the log is\n%s", says, a.text, a.answers, a.log)
		}
	}
	return nil
}

// quote finds what is said in an attack's answers, status and log.
func (a *attack) quote(says string) string {
	pattern := regexp.MustCompile(says)
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, text := range append(slices.Clone(a.answers), a.text, a.log) {
		if found := pattern.FindString(text); found != "" {
			return found
		}
	}
	return ""
}

// refused says what is wrong with a refusal, or that there is none.
func (a *attack) refused() error {
	if a.created.Status != a.Status {
		return fmt.Errorf("it is answered %s instead of %d", a.created, a.Status)
	}
	for _, says := range a.Says {
		if !regexp.MustCompile(says).Match(a.created.Body) {
			return fmt.Errorf("the refusal does not say %q: %s", says, a.created)
		}
	}
	return nil
}

// run makes the attack and waits for its outcome.
func (a *attack) run(ctx context.Context) error {
	if err := a.post(ctx); err != nil {
		return fmt.Errorf("posting it: %w", err)
	}
	if a.Outcome == hostileRefused {
		return a.refused()
	}
	if a.created.Status != http.StatusOK {
		return fmt.Errorf("it is refused: %s", a.created)
	}
	defer a.dawdle(ctx)()
	if err := a.call(ctx); err != nil {
		return err
	}
	begun := time.Now()
	tick := time.NewTicker(hostileEvery)
	defer tick.Stop()
	for {
		err := a.look(ctx)
		if err == nil {
			err = a.outcome()
		}
		switch elapsed := time.Since(begun); {
		case err == nil && (a.Outcome != hostileRuns && a.Outcome != hostileStays || elapsed > hostileTaste):
			return nil
		case err != nil && (elapsed > hostileTime || errors.Is(err, errHopeless)):
			return err
		}
		<-tick.C
	}
}

// told says in a line what has come of it.
func (a *attack) told() string {
	var text string
	switch {
	case a.Outcome == hostileRefused || a.created.Status != http.StatusOK:
		text = fmt.Sprintf("refused, %d: %s", a.created.Status, firstOf(a.created))
	case a.Outcome == hostileEnds && a.status.LastExit != nil:
		first, _, _ := strings.Cut(a.status.LastExit.Message, "\n")
		text = fmt.Sprintf("ended, %s: %s", a.status.LastExit.Reason, first)
	case len(a.Says) > 0:
		outcome := strings.NewReplacer(hostileFinishes, "finished", hostileStays, "runs").Replace(a.Outcome)
		text = fmt.Sprintf("%s: %s", outcome, a.quote(a.Says[0]))
	case a.Outcome == hostileFinishes:
		text = "finished, found nothing"
	default:
		text = "runs, within its limits"
	}
	return text
}

// firstOf is the first lint of an answer, or else its first line.
func firstOf(said answer) string {
	var lints struct {
		Lints []string `json:"lint_errors"`
	}
	if json.Unmarshal(said.Body, &lints) == nil && len(lints.Lints) > 0 {
		return lints.Lints[0]
	}
	first, _, _ := strings.Cut(said.Text(), "\n")
	return first
}
