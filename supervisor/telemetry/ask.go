package telemetry

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"penstock/rpc"
	"penstock/supervisor/cgroup"
)

const (
	// maxAsked is how many runners are asked at the same time.
	maxAsked = 64
	// patience is how long one that does not answer counts among those. Runners
	// that hang, however many, must not keep the others from being asked.
	patience = 25 * time.Millisecond
)

// answer is what is known of a target.
type answer struct {
	Target
	metrics []rpc.Metric
	// failed says that the target was asked in vain.
	failed bool
	// figures is nil when there is no runner.
	figures *figures
	// usage is nil when nothing counts what the runner uses.
	usage *cgroup.Usage
	// dropped is how many series were left out.
	dropped int
}

// ask asks all targets, and returns their answers in the order of their ids.
// It returns when all have answered, or when the context ends.
func ask(ctx context.Context, targets []Target) []answer {
	answers := make([]answer, len(targets))
	for i, target := range targets {
		answers[i] = answer{Target: target, failed: target.Stats != nil}
	}
	slices.SortFunc(answers, func(a, b answer) int {
		return cmp.Or(strings.Compare(a.Stream, b.Stream), cmp.Compare(a.Replica, b.Replica))
	})

	type reply struct {
		index   int
		metrics []rpc.Metric
		err     error
	}
	// Room for all, so that one that comes too late does not wait for ever.
	replies := make(chan reply, len(answers))
	slots := make(chan struct{}, maxAsked)
	waiting := 0
	for i := range answers {
		stats := answers[i].Stats
		if stats == nil {
			continue
		}
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			continue
		}
		waiting++
		go func() {
			release := sync.OnceFunc(func() { <-slots })
			timer := time.AfterFunc(patience, release)
			metrics, err := stats(ctx)
			timer.Stop()
			release()
			replies <- reply{i, metrics, err}
		}()
	}
	// Read while the runners answer.
	for i := range answers {
		answers[i].figures = readFigures(ctx, answers[i].PID)
		answers[i].usage = readUsage(ctx, answers[i].Usage)
	}
	for ; waiting > 0; waiting-- {
		var r reply
		select {
		case r = <-replies:
		case <-ctx.Done():
			// What has come in by now counts.
			select {
			case r = <-replies:
			default:
				return answers
			}
		}
		answers[r.index].metrics, answers[r.index].failed = r.metrics, r.err != nil
	}
	return answers
}
