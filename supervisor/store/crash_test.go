package store

import (
	"bufio"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const crashWorkers = 4

var errOnPurpose = errors.New("on purpose")

func init() { children["crash"] = childCrash }

// step is the nth transaction of a worker: a number of actions on streams that
// no other worker touches.
type step struct {
	worker, n int
	actions   []action
	fails     bool
}

type action struct {
	kind   int
	id     string
	config string
	pid    int
}

func stepOf(worker, n int) step {
	source := rand.New(rand.NewPCG(uint64(worker), uint64(n)))
	st := step{worker: worker, n: n, fails: source.IntN(8) == 0}
	for range 1 + source.IntN(3) {
		st.actions = append(st.actions, action{
			kind: source.IntN(8), id: fmt.Sprintf("w%d-%d", worker, source.IntN(5)),
			config: strings.Repeat(fmt.Sprintf("%d.%d ", worker, n), source.IntN(800)), pid: n,
		})
	}
	return st
}

// apply is the step on a store.
func (st step) apply(tx *Tx) error {
	for _, a := range st.actions {
		current, _, err := tx.Stream(a.id)
		if err != nil {
			return err
		}
		switch a.kind {
		default:
			err = errors.Join(tx.PutStream(stream(a.id, current.Revision+1, a.config)), tx.PutRunner(a.id, runner(a.pid)))
		case 4:
			err = tx.DeleteStream(a.id)
		case 5:
			err = tx.DeleteRunner(a.id)
		case 6:
			err = errors.Join(tx.PutResource(Resource{Type: "cache", ID: a.id, Config: []byte(a.config)}), tx.PutDeclaration("resource/"+a.id, Declaration{Hash: a.id}))
		case 7:
			err = errors.Join(tx.DeleteResource(a.id, 0), tx.DeleteDeclaration("resource/"+a.id))
		}
		if err != nil {
			return err
		}
	}
	if st.fails {
		return errOnPurpose
	}
	return nil
}

// model is what a worker's part of the store should be.
type model struct {
	State
	revisions map[string][]Revision
}

func newModel() model {
	return model{State: State{
		Streams: map[string]Stream{}, Runners: map[string]Runner{}, Resources: map[string]Resource{}, Declared: map[string]Declaration{},
	}, revisions: map[string][]Revision{}}
}

// after returns the model after a step.
func (m model) after(st step) model {
	if st.fails {
		return m
	}
	m = model{State: State{
		Streams: maps.Clone(m.Streams), Runners: maps.Clone(m.Runners),
		Resources: maps.Clone(m.Resources), Declared: maps.Clone(m.Declared),
	}, revisions: maps.Clone(m.revisions)}
	for _, a := range st.actions {
		switch a.kind {
		default:
			put := stream(a.id, m.Streams[a.id].Revision+1, a.config)
			if a.config == "" {
				put.Config = nil
			}
			m.Streams[a.id], m.Runners[a.id] = put, runner(a.pid)
			revision := Revision{Number: put.Revision, Definition: put.Definition, Origin: put.Origin, At: put.ChangedAt}
			kept := append([]Revision{revision}, m.revisions[a.id]...)
			m.revisions[a.id] = kept[:min(len(kept), KeepRevisions)]
		case 4:
			delete(m.Streams, a.id)
			delete(m.Runners, a.id)
			delete(m.revisions, a.id)
		case 5:
			delete(m.Runners, a.id)
		case 6:
			r := Resource{Type: "cache", ID: a.id, Config: []byte(a.config)}
			if a.config == "" {
				r.Config = nil
			}
			m.Resources[a.id], m.Declared["resource/"+a.id] = r, Declaration{Hash: a.id}
		case 7:
			delete(m.Resources, a.id)
			delete(m.Declared, "resource/"+a.id)
		}
	}
	return m
}

// partOf returns what a store holds of a worker.
func partOf(t *testing.T, s *Store, worker int) model {
	state, revisions, err := everything(s)
	require.NoError(t, err)
	prefix := fmt.Sprintf("w%d-", worker)
	others := func(key string) bool { return !strings.HasPrefix(strings.TrimPrefix(key, "resource/"), prefix) }
	maps.DeleteFunc(state.Streams, func(key string, _ Stream) bool { return others(key) })
	maps.DeleteFunc(state.Runners, func(key string, _ Runner) bool { return others(key) })
	maps.DeleteFunc(state.Resources, func(key string, _ Resource) bool { return others(key) })
	maps.DeleteFunc(state.Declared, func(key string, _ Declaration) bool { return others(key) })
	maps.DeleteFunc(revisions, func(key string, _ []Revision) bool { return others(key) })
	return model{State: state, revisions: revisions}
}

// childCrash takes steps from those given on, and prints each that was
// acknowledged, until it is killed.
func childCrash() error {
	s, err := Open(os.Getenv("STATE"))
	if err != nil {
		return err
	}
	fmt.Println("ready")
	var group sync.WaitGroup
	failed := make(chan error, crashWorkers)
	for worker, from := range strings.Fields(os.Getenv("FROM")) {
		var n int
		if _, err := fmt.Sscan(from, &n); err != nil {
			return err
		}
		group.Go(func() {
			for ; ; n++ {
				if err := s.Update(stepOf(worker, n).apply); err != nil && !errors.Is(err, errOnPurpose) {
					failed <- err
					return
				}
				// One write, so that a line is whole.
				fmt.Fprintf(os.Stdout, "%d %d\n", worker, n)
			}
		})
	}
	group.Wait()
	return <-failed
}

func TestSIGKILLAtAnyMoment(t *testing.T) {
	t.Parallel()
	// In memory a commit is short, so that there are many; on the disk most of
	// the time is spent in a sync.
	t.Run("memory", func(t *testing.T) { killRounds(t, memoryPath(t), 40) })
	t.Run("disk", func(t *testing.T) { killRounds(t, statePath(t), 20) })
}

func killRounds(t *testing.T, path string, rounds int) {
	source := rand.New(rand.NewPCG(1, uint64(time.Now().UnixNano())))
	models := slices.Repeat([]model{newModel()}, crashWorkers)
	next := make([]int, crashWorkers)
	acknowledged, unacknowledged := 0, 0

	for round := range rounds {
		cmd := childCommand("crash", path, "FROM="+strings.Trim(fmt.Sprint(next), "[]"))
		cmd.Stderr = os.Stderr
		stdout, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		lines := bufio.NewScanner(stdout)
		var kill *time.Timer
		killSoon := func() {
			kill = time.AfterFunc(time.Duration(source.IntN(30_000))*time.Microsecond, func() { _ = cmd.Process.Kill() })
		}
		// Most rounds are killed while they commit, some while they open the file.
		opening := round%6 == 0
		if opening {
			killSoon()
		}
		acks := make([][]int, crashWorkers)
		for lines.Scan() {
			if lines.Text() == "ready" {
				continue
			}
			var worker, n int
			_, err := fmt.Sscan(lines.Text(), &worker, &n)
			require.NoError(t, err)
			acks[worker] = append(acks[worker], n)
			if kill == nil {
				killSoon()
			}
		}
		require.NotNil(t, kill, "the child ended by itself, before anything was acknowledged")
		require.Error(t, cmd.Wait())
		require.False(t, kill.Stop(), "the child ended by itself")
		require.True(t, opening || len(slices.Concat(acks...)) > 0)

		s, err := Open(path)
		require.NoError(t, err)
		for worker := range crashWorkers {
			for _, n := range acks[worker] {
				require.Equal(t, next[worker], n)
				models[worker] = models[worker].after(stepOf(worker, n))
				next[worker]++
				acknowledged++
			}
			found := partOf(t, s, worker)
			inFlight := models[worker].after(stepOf(worker, next[worker]))
			if !assert.ObjectsAreEqual(models[worker], found) {
				require.Equal(t, inFlight, found, "round %d, worker %d: neither before nor after step %d", round, worker, next[worker])
				models[worker] = inFlight
				next[worker]++
				unacknowledged++
			}
		}
		require.True(t, librarySaysSound(s))
		require.NoError(t, s.Close())
	}
	t.Logf("%d rounds, %d transactions acknowledged, %d in flight that hold", rounds, acknowledged, unacknowledged)
}
