package integration

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// chaosBinaries builds the broker and a runner that carries NATS, once. They
// are a module of their own, for what they depend on is none of Penstock's.
var chaosBinaries = sync.OnceValues(func() (bin struct{ Broker, Runner string }, err error) {
	dir := filepath.Join(workDir, "chaos")
	bin.Broker, bin.Runner = filepath.Join(dir, "broker"), filepath.Join(dir, "runner")
	ctx, cancel := context.WithTimeout(context.Background(), buildTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", dir+string(filepath.Separator), "./broker", "./runner")
	cmd.Dir = "chaos"
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, failed := cmd.CombinedOutput(); failed != nil {
		err = fmt.Errorf("building integration/chaos (if its go.mod is behind the main one: go -C integration/chaos mod tidy): %w\n%s", failed, out)
	}
	return bin, err
})

// brokerReport is a line the broker prints; integration/chaos/broker documents
// the fields.
type brokerReport struct {
	URL                            string
	Published, Arrived, Duplicates int
	Wrong, Missing                 []string
}

func (r brokerReport) String() string {
	return fmt.Sprintf("published %d, arrived %d, duplicates %d, wrong %v, missing %v", r.Published, r.Arrived, r.Duplicates, r.Wrong, r.Missing)
}

// broker is a running NATS server with its publisher and its tally.
type broker struct {
	// URL is where the server listens.
	URL string

	input  io.Writer
	latest atomic.Pointer[brokerReport]
	ended  chan struct{}
	err    error // may be read once ended is closed
}

// startBroker starts a broker for plan. It ends with the test.
func startBroker(t testing.TB, plan chaosPlan) *broker {
	t.Helper()
	bin, err := chaosBinaries()
	require.NoError(t, err)
	log, err := os.Create(filepath.Join(t.TempDir(), "broker.log"))
	require.NoError(t, err)
	defer log.Close()
	cmd := exec.Command(bin.Broker,
		"-dir", t.TempDir(), "-streams", fmt.Sprint(plan.Streams), "-messages", fmt.Sprint(plan.Messages),
		"-over", plan.Duration.String(), "-ack-wait", plan.AckWait.String())
	cmd.Stderr = log
	input, err := cmd.StdinPipe()
	require.NoError(t, err)
	output, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	b := &broker{input: input, ended: make(chan struct{})}
	go func() {
		defer close(b.ended)
		for lines := bufio.NewScanner(output); lines.Scan(); {
			var r brokerReport
			if b.err = json.Unmarshal(lines.Bytes(), &r); b.err != nil {
				break
			}
			b.latest.Store(&r)
		}
		if err := cmd.Wait(); b.err == nil {
			b.err = err
		}
	}()
	t.Cleanup(func() {
		input.Close()
		select {
		case <-b.ended:
			assert.NoError(t, b.err, "the broker's end")
		case <-time.After(stopTimeout):
			_ = cmd.Process.Kill()
			assert.Fail(t, "the broker did not end")
			<-b.ended
		}
		if t.Failed() {
			text, err := os.ReadFile(log.Name())
			t.Logf("the broker's log (%v):\n%s", err, text)
		}
	})
	await(t, startTimeout, "the broker", func() error {
		_, err := b.report()
		return err
	})
	r, err := b.report()
	require.NoError(t, err)
	b.URL = r.URL
	return b
}

// report is the latest one.
func (b *broker) report() (brokerReport, error) {
	select {
	case <-b.ended:
		return brokerReport{}, fmt.Errorf("%w: the broker has ended: %w", errHopeless, b.err)
	default:
	}
	if r := b.latest.Load(); r != nil {
		return *r, nil
	}
	return brokerReport{}, fmt.Errorf("no report yet")
}

// publish begins the publishing.
func (b *broker) publish(t testing.TB) {
	t.Helper()
	_, err := io.WriteString(b.input, "publish\n")
	require.NoError(t, err)
}
