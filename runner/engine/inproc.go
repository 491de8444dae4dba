package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"penstock/rpc"
	"penstock/runner/share"
)

const (
	inprocName = "inproc"
	// numberKey is the metadata of a message that holds its batch's number. It
	// does not leave the process.
	numberKey = "penstock_batch_number"
	// numberingName is the processor that numbers the batches of an output.
	// Nobody's config can name it: it is registered after linting.
	numberingName = "penstock_numbering"
	// inprocInFlight is how many batches of one output are not settled at most.
	// In one process there is no bound: the other stream may gather as many
	// before it writes any.
	inprocInFlight = 1024
	// inprocBytes is what the batches of one output may take that are not settled
	// before no more are taken in, in bytes; one alone may be larger.
	inprocBytes = 16 << 20
	// turnPatience is how long a batch waits for the one before it to come, which
	// the engine may have dropped.
	turnPatience = 5 * time.Second
)

// registerInproc puts an input and an output in the place of the engine's
// inproc that connect streams of several processes. What the policy denies stays
// denied.
func registerInproc(env *service.Environment, policy rpc.ComponentPolicy, link *share.Link) error {
	spec := func(summary string) *service.ConfigSpec {
		return service.NewConfigSpec().Summary(summary).Field(service.NewStringField("").Default(""))
	}
	var errs []error
	if !denied(policy, rpc.ClassInputs, inprocName) {
		errs = append(errs, env.RegisterBatchInput(inprocName, spec("Takes what outputs of other streams give."),
			func(conf *service.ParsedConfig, _ *service.Resources) (service.BatchInput, error) {
				pipe, err := conf.FieldString()
				return &inprocInput{link: link, pipe: pipe}, err
			}))
	}
	if !denied(policy, rpc.ClassOutputs, inprocName) {
		n := &numberings{byID: map[string]*numbering{}}
		errs = append(errs, n.register(env))
		errs = append(errs, env.RegisterBatchOutput(inprocName, spec("Gives what it gets to inputs of other streams."),
			func(conf *service.ParsedConfig, _ *service.Resources) (service.BatchOutput, service.BatchPolicy, int, error) {
				pipe, err := conf.FieldString()
				if err != nil {
					return nil, service.BatchPolicy{}, 0, err
				}
				order, policy, err := n.policy(env)
				if err != nil {
					return nil, service.BatchPolicy{}, 0, err
				}
				order.full = time.AfterFunc(share.StallPatience, func() { link.Stalled(pipe) })
				order.full.Stop()
				return &inprocOutput{link: link, pipe: pipe, order: order}, policy, inprocInFlight, nil
			}))
	}
	return errors.Join(errs...)
}

// inprocInput implements service.BatchInput.
type inprocInput struct {
	link *share.Link
	pipe string
}

// Connect implements service.BatchInput.
func (i *inprocInput) Connect(ctx context.Context) error { return i.link.Await(ctx) }

// ReadBatch implements service.BatchInput.
func (i *inprocInput) ReadBatch(ctx context.Context) (service.MessageBatch, service.AckFunc, error) {
	pulled, settle, err := i.link.Pull(ctx, i.pipe)
	if err != nil {
		return nil, nil, err
	}
	batch := batchFromProto(pulled)
	index := batch.Index()
	return batch, func(_ context.Context, err error) error {
		settle(verdictOf(err, index))
		return nil
	}, nil
}

// Close implements service.BatchInput.
func (i *inprocInput) Close(context.Context) error { return nil }

// inprocOutput implements service.BatchOutput.
type inprocOutput struct {
	link  *share.Link
	pipe  string
	order *numbering
}

// Connect implements service.BatchOutput.
func (o *inprocOutput) Connect(ctx context.Context) error { return o.link.Await(ctx) }

// WriteBatch implements service.BatchOutput. Many are under way at once, and
// begin in the order of their numbers.
func (o *inprocOutput) WriteBatch(ctx context.Context, batch service.MessageBatch) error {
	defer o.order.hold(batch)()
	done, err := o.order.turn(ctx, batch)
	if err != nil {
		return err
	}
	defer done()
	out, err := batchToProto(batch)
	if err != nil {
		return err
	}
	verdict, err := o.link.Push(ctx, o.pipe, out, done)
	if err != nil {
		return err
	}
	return errorOfVerdict(verdict, batch)
}

// Close implements service.BatchOutput.
func (o *inprocOutput) Close(context.Context) error { return nil }

// numberings are those of the outputs, by the names by which their batch policies
// know them.
type numberings struct {
	mu   sync.Mutex
	byID map[string]*numbering
}

// numbering has what many goroutines write at once begin in the order in which
// it came. The engine gives an output's goroutines their batches in no order of
// its own, but the processors of its batch policy see one after the other.
type numbering struct {
	mu sync.Mutex
	// given is the last number, and next the one whose turn it is.
	given, next uint64
	// here are those that wait for their turn or have it.
	here map[uint64]bool
	news chan struct{}
	// writing is how many batches are being written, and bytes what they take; less is told when that is less.
	writing, bytes int
	less           sync.Cond
	// full runs while no more can be written before something is settled, from the
	// last time that something was.
	full *time.Timer
}

func (n *numberings) register(env *service.Environment) error {
	spec := service.NewConfigSpec().Summary("Numbers the batches of an output.").Field(service.NewStringField(""))
	return env.RegisterBatchProcessor(numberingName, spec, func(conf *service.ParsedConfig, _ *service.Resources) (service.BatchProcessor, error) {
		id, err := conf.FieldString()
		if err != nil {
			return nil, err
		}
		n.mu.Lock()
		defer n.mu.Unlock()
		if n.byID[id] == nil {
			return nil, fmt.Errorf("no component type is called %s", numberingName)
		}
		return n.byID[id], nil
	})
}

// policy makes the numbering of another output, and the batch policy that has
// each batch numbered and leaves it what it is.
func (n *numberings) policy(env *service.Environment) (*numbering, service.BatchPolicy, error) {
	n.mu.Lock()
	id := strconv.Itoa(len(n.byID))
	order := &numbering{next: 1, here: map[uint64]bool{}, news: make(chan struct{})}
	order.less.L = &order.mu
	n.byID[id] = order
	n.mu.Unlock()
	spec := service.NewConfigSpec().Field(service.NewBatchPolicyField("batching"))
	conf, err := spec.ParseYAML(fmt.Sprintf("batching: {count: 1, processors: [{%s: %q}]}", numberingName, id), env)
	if err != nil {
		return nil, service.BatchPolicy{}, err
	}
	policy, err := conf.FieldBatchPolicy("batching")
	return order, policy, err
}

// ProcessBatch implements service.BatchProcessor. Messages whose processing has
// failed may never come to be written, by the stream's config: a batch of nothing
// else has no place in the order, and of any other each message knows it.
//
// While much is being written no more is taken in: the engine would hold a batch
// for each goroutine, of whatever size.
func (n *numbering) ProcessBatch(ctx context.Context, batch service.MessageBatch) ([]service.MessageBatch, error) {
	if err := n.room(ctx); err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(batch, func(m *service.Message) bool { return m.GetError() == nil }) {
		return []service.MessageBatch{batch}, nil
	}
	n.mu.Lock()
	n.given++
	number := n.given
	n.mu.Unlock()
	for i, m := range batch {
		// A copy: what an output refuses may go to another one.
		batch[i] = m.Copy()
		batch[i].MetaSetMut(numberKey, number)
	}
	return []service.MessageBatch{batch}, nil
}

// room waits until not much is being written. The error is the context's.
func (n *numbering) room(ctx context.Context) error {
	defer context.AfterFunc(ctx, func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.less.Broadcast()
	})()
	n.mu.Lock()
	defer n.mu.Unlock()
	for n.bytes > inprocBytes && ctx.Err() == nil {
		n.less.Wait()
	}
	return ctx.Err()
}

// hold counts a batch as one that is being written until release is called.
func (n *numbering) hold(batch service.MessageBatch) (release func()) {
	size := 0
	for _, m := range batch {
		// What has no bytes is refused where it is written.
		content, _ := m.AsBytes()
		size += len(content)
	}
	count := func(batches, bytes int) {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.writing += batches
		n.bytes += bytes
		n.less.Broadcast()
		if n.writing >= inprocInFlight || n.bytes > inprocBytes {
			n.full.Reset(share.StallPatience)
		} else {
			n.full.Stop()
		}
	}
	count(1, size)
	return func() { count(-1, -size) }
}

// Close implements service.BatchProcessor.
func (n *numbering) Close(context.Context) error { return nil }

// turn waits until all batches before this one have begun. done is to be called
// when this one has; further calls do nothing.
func (n *numbering) turn(ctx context.Context, batch service.MessageBatch) (done func(), err error) {
	if len(batch) == 0 {
		return func() {}, nil
	}
	value, _ := batch[0].MetaGetMut(numberKey)
	number, numbered := value.(uint64)
	if !numbered {
		return func() {}, nil
	}
	done = sync.OnceFunc(func() { n.leave(number) })
	n.mu.Lock()
	n.here[number] = true
	n.mu.Unlock()
	for {
		n.mu.Lock()
		next, news := n.next, n.news
		n.mu.Unlock()
		// One that is written again has had its turn.
		if number <= next {
			return done, nil
		}
		select {
		case <-news:
		case <-ctx.Done():
			done()
			return nil, ctx.Err()
		case <-time.After(turnPatience):
			n.skip(next)
		}
	}
}

// leave gives the turn of a number to the next, or gives it up.
func (n *numbering) leave(number uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.here, number)
	if number == n.next {
		n.pass()
	}
}

// skip passes a number over that has the turn and never came.
func (n *numbering) skip(number uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.next == number && !n.here[number] {
		n.pass()
	}
}

// pass makes it the next one's turn. The caller holds the lock.
func (n *numbering) pass() {
	n.next++
	close(n.news)
	n.news = make(chan struct{})
}
