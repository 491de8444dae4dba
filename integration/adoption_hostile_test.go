package integration

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// decoy is a process that is no runner. It dies of any signal.
type decoy struct {
	PID   int
	Start uint64
}

// newDecoy starts a decoy as a user; 0 is the test's own.
func newDecoy(t *testing.T, uid uint32) decoy {
	t.Helper()
	cmd := exec.Command("sleep", "600")
	if uid != 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	}
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		assert.NoError(t, cmd.Process.Kill())
		_ = cmd.Wait()
	})
	ticks, err := startTicks(cmd.Process.Pid)
	require.NoError(t, err)
	start, err := strconv.ParseUint(ticks, 10, 64)
	require.NoError(t, err)
	return decoy{PID: cmd.Process.Pid, Start: start}
}

// assertUntouched checks that nobody has sent the decoy a signal.
func (d decoy) assertUntouched(t *testing.T) {
	t.Helper()
	p, err := readProcess(d.PID)
	if assert.NoError(t, err, "the decoy") {
		assert.Equal(t, "S", p.State, "the decoy was signalled: %s", p)
	}
}

// TestAdoptionRefused has the store name, in many ways, something that is not
// the stream's runner. Whatever that is, it is left alone; the runner that
// nobody can vouch for is ended; the stream runs anew, once; and the stream
// beside it does not notice.
func TestAdoptionRefused(t *testing.T) {
	t.Parallel()
	const nobody = 65534
	if os.Geteuid() != 0 {
		t.Log("not root: the process of another user is one of our own")
	}
	for name, c := range map[string]struct {
		// amend changes the record of the victim, or nil for none. The
		// bystander's is for reading.
		amend func(victim, bystander record, d decoy) record
		// dead says that the victim's runner is killed before.
		dead bool
		// result is how the adoption is counted; empty for not at all.
		result string
	}{
		"recycled pid": {
			amend: func(v, _ record, d decoy) record {
				v["pid"] = d.PID
				return v
			},
			result: "foreign",
		},
		"recycled pid of a runner that is dead": {
			amend: func(v, _ record, d decoy) record {
				v["pid"] = d.PID
				return v
			},
			dead: true, result: "foreign",
		},
		"another user's process": {
			// Even the start time agrees.
			amend: func(v, _ record, d decoy) record {
				v["pid"], v["start_time"] = d.PID, d.Start
				return v
			},
			result: "foreign",
		},
		"stale socket": {
			// All that can be known of the process agrees, and the socket's file
			// is there.
			amend: func(v, _ record, d decoy) record {
				v["pid"], v["start_time"] = d.PID, d.Start
				return v
			},
			dead: true, result: "foreign",
		},
		"socket that is gone": {
			amend: func(v, _ record, _ decoy) record {
				v["socket"] = "plugin0000000000"
				return v
			},
			// It is the runner without doubt, and it is ended.
			result: "gone",
		},
		"another listens on the socket": {
			amend: func(v, b record, _ decoy) record {
				v["dir"], v["socket"] = b["dir"], b["socket"]
				return v
			},
			result: "foreign",
		},
		"folder outside of the data folder": {
			amend: func(v, _ record, _ decoy) record {
				v["dir"] = "../run/" + v["dir"].(string)
				return v
			},
			result: "foreign",
		},
		"another boot": {
			amend: func(v, _ record, _ decoy) record {
				v["boot_id"] = "5c0f7f0a-3f5b-4b1e-9c53-1f1b0a2f9a11"
				return v
			},
			result: "gone",
		},
		"dead": {
			amend:  func(v, _ record, _ decoy) record { return v },
			dead:   true,
			result: "gone",
		},
		"does not answer as itself": {
			amend: func(v, _ record, _ decoy) record {
				v["instance"] = "SOMEBODYELSESTOKEN"
				return v
			},
			result: "refused",
		},
		"another protocol version": {
			amend: func(v, _ record, _ decoy) record {
				v["protocol"] = 99
				return v
			},
			result: "refused",
		},
		"older revision": {
			amend: func(v, _ record, _ decoy) record {
				v["revision"] = 0
				return v
			},
			result: "outdated",
		},
		"stray": {
			amend: func(record, record, decoy) record { return nil },
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			uid := uint32(0)
			if name == "another user's process" && os.Geteuid() == 0 {
				uid = nobody
			}
			d := newDecoy(t, uid)
			r := newRestartable(t)
			r.start(t)
			for _, id := range []string{"victim", "bystander"} {
				r.expect(t, 200, "POST", "/streams/"+id, echo(id))
			}
			old, other := mustStatus(t, r.client, "victim").PID, mustStatus(t, r.client, "bystander").PID
			r.kill9(t)
			if c.dead {
				require.NoError(t, syscall.Kill(old, syscall.SIGKILL))
				await(t, changeTimeout, "the runner's end", func() error { return ended(old) })
			}
			bystander := r.runnerRecord(t, "bystander")
			r.amendRunner(t, "victim", func(v record) record { return c.amend(v, bystander, d) })

			r.start(t)
			awaitEcho(t, r.client, "/bystander/post", "bystander")
			var s wholeStatus
			await(t, changeTimeout, "the stream's new runner", func() (err error) {
				s, err = askStatus(t.Context(), r.client, "victim")
				if err == nil && (s.State != "running" || s.PID == old) {
					err = fmt.Errorf("it is %s", s)
				}
				return err
			})
			awaitEcho(t, r.client, "/victim/post", "victim")
			await(t, changeTimeout, "the end of the runner that is not known", func() error { return ended(old) })
			d.assertUntouched(t)
			assert.NotEqual(t, d.PID, s.PID)
			assert.Equal(t, other, mustStatus(t, r.client, "bystander").PID, "the bystander's runner")
			assert.Len(t, r.runners(), 2, "one runner a stream")
			want := map[string]float64{"adopted": 1}
			if c.result != "" {
				want[c.result] = 1
			}
			await(t, changeTimeout, "the adoptions", func() error {
				if got := positive(r.adoptions(t)); !maps.Equal(want, got) {
					return fmt.Errorf("%v instead of %v", got, want)
				}
				return nil
			})
			folders, err := filepath.Glob(filepath.Join(r.DataDir, "run", "*"))
			require.NoError(t, err)
			assert.Len(t, folders, 2, "folders of runners")

			// The next supervisor has nothing to refuse.
			r.kill9(t)
			r.start(t)
			assert.Equal(t, s.PID, awaitState(t, r.client, "victim", "running").PID)
			r.stop(t)
			assert.Empty(t, r.runners(), "processes that outlived their supervisor")
		})
	}
}

// ended is gone, satisfied with a process that waits for whoever its parent is
// by now.
func ended(pid int) error {
	p, err := readProcess(pid)
	if errors.Is(err, os.ErrNotExist) || err == nil && p.State == "Z" {
		return nil
	}
	return fmt.Errorf("process %d lives: %v %w", pid, p, err)
}

// positive leaves out what was counted zero times.
func positive(counts map[string]float64) map[string]float64 {
	for key, n := range counts {
		if n == 0 {
			delete(counts, key)
		}
	}
	return counts
}

// TestAdoptionOfAStoppedRunner: a runner that does not answer is not dead. It
// costs the supervisor nothing, and goes on when it is let.
func TestAdoptionOfAStoppedRunner(t *testing.T) {
	t.Parallel()
	r := newRestartable(t)
	args := []string{"--set", "timeouts.rpc=500ms"}
	r.start(t, args...)
	for _, id := range []string{"stopped", "other"} {
		r.expect(t, 200, "POST", "/streams/"+id, echo(id))
	}
	pid := mustStatus(t, r.client, "stopped").PID
	freeze(t, pid)
	t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGCONT) })
	r.kill9(t)

	start := r.start(t, args...)
	list, err := listStreams(t.Context(), r.client)
	require.NoError(t, err)
	assert.Len(t, list, 2)
	took := timed(func() { awaitEcho(t, r.client, "/other/post", "other") })
	t.Logf("from exec to the first pong: %s; the other stream answered after further %s", start, took)
	var a answer
	await(t, changeTimeout, "/ready to name it", func() error {
		a = r.call(t, "GET", "/ready", "")
		if a.Status != 503 {
			return fmt.Errorf("it answers %s", a)
		}
		return nil
	})
	assert.Contains(t, a.Text(), "stopped: its runner does not answer")
	assert.NotContains(t, a.Text(), "other")
	s := mustStatus(t, r.client, "stopped")
	assert.Equal(t, pid, s.PID)
	assert.Equal(t, "running", s.State)
	assert.NotEmpty(t, s.Unanswered)
	assert.Equal(t, map[string]float64{"adopted": 1}, positive(r.adoptions(t)), "one has told who it is")

	held := begin(t, r.client, request{Method: "POST", Path: "/stopped/post", Body: "held"})
	require.NoError(t, syscall.Kill(pid, syscall.SIGCONT))
	assert.Equal(t, "stopped:held", string(end(t, "a request that was held", held).Body))
	awaitReady(t, r.client)
	await(t, changeTimeout, "both to be adopted", func() error {
		if n := r.adoptions(t)["adopted"]; n != 2 {
			return fmt.Errorf("%v are", n)
		}
		return nil
	})
	s = mustStatus(t, r.client, "stopped")
	assert.Equal(t, pid, s.PID)
	assert.Zero(t, s.Restarts)
	r.stop(t)
	assert.Empty(t, r.runners(), "processes that outlived their supervisor")
}

// TestAdoptionOfAHalfMadeChange: a supervisor that dies while a stream's old
// runner is being stopped for the next one leaves both. The next supervisor
// wants neither: the one is not in the store, and the other, which is, was
// never told to run.
func TestAdoptionOfAHalfMadeChange(t *testing.T) {
	t.Parallel()
	r := newRestartable(t)
	r.start(t)
	// Its stop takes as long as it may.
	r.expect(t, 200, "POST", "/streams/a", blockedOutput(t))
	old := mustStatus(t, r.client, "a").PID
	awaitReceived(t, r.client, "a")
	change := begin(t, r.client, request{Method: "PUT", Path: "/streams/a?timeout=25s", Body: echo("new")})
	awaitState(t, r.client, "a", "stopping")
	var both []int
	for _, p := range r.runners() {
		both = append(both, p.PID)
	}
	require.Len(t, both, 2)
	r.kill9(t)
	<-change

	r.start(t)
	awaitEcho(t, r.client, "/a/post", "new")
	s := awaitState(t, r.client, "a", "running")
	assert.EqualValues(t, 2, s.Revision, "the change was kept")
	assert.NotContains(t, both, s.PID)
	for _, pid := range both {
		await(t, changeTimeout, "the end of a runner that nobody wants", func() error { return ended(pid) })
	}
	assert.NotEqual(t, old, s.PID)
	assert.Len(t, r.runners(), 1)
	assert.Equal(t, map[string]float64{"refused": 1}, positive(r.adoptions(t)))
	r.stop(t)
	assert.Empty(t, r.runners(), "processes that outlived their supervisor")
}
