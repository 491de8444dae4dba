package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"penstock/supervisor"
)

// fakeServer answers for streams as a server does.
type fakeServer struct {
	*httptest.Server
	token string

	mu      sync.Mutex
	runner  string
	streams map[string]*supervisor.Status
	// restart is what becomes of a stream that is restarted; one that is not
	// there runs with the new version.
	restart map[string]func(s *supervisor.Status, w http.ResponseWriter)
	// told, if set, is called with each status before it is told.
	told func(s *supervisor.Status)
	// restarted are the streams in the order of their restarts.
	restarted []string
}

func newFakeServer(t *testing.T, states map[string]supervisor.Status) *fakeServer {
	t.Helper()
	f := &fakeServer{runner: "v2", streams: map[string]*supervisor.Status{}, restart: map[string]func(*supervisor.Status, http.ResponseWriter){}}
	for id, s := range states {
		s.ID, s.Desired, s.Since = id, supervisor.DesiredRunning, time.Now().Add(-90*time.Second)
		f.streams[id] = &s
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /version", func(w http.ResponseWriter, _ *http.Request) { f.answer(w, map[string]string{"runner": f.runner}) })
	mux.HandleFunc("GET /streams", func(w http.ResponseWriter, _ *http.Request) { f.answer(w, f.streams) })
	mux.HandleFunc("GET /streams/{id}/status", func(w http.ResponseWriter, r *http.Request) {
		if s := f.streams[r.PathValue("id")]; s != nil {
			if f.told != nil {
				f.told(s)
			}
			f.answer(w, s)
			return
		}
		http.Error(w, "Stream not found", http.StatusNotFound)
	})
	mux.HandleFunc("POST /streams/{id}/restart", func(w http.ResponseWriter, r *http.Request) {
		id := r.PathValue("id")
		f.restarted = append(f.restarted, id)
		f.streams[id].RunnerVersion = "v2"
		if then := f.restart[id]; then != nil {
			then(f.streams[id], w)
		}
	})
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.token != "" && r.Header.Get("Authorization") != "Bearer "+f.token {
			http.Error(w, "Error: send the bearer token", http.StatusUnauthorized)
			return
		}
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(f.Close)
	return f
}

func (f *fakeServer) answer(w http.ResponseWriter, v any) { _ = json.NewEncoder(w).Encode(v) }

// command runs a command on the server and returns its code and what it tells.
func (f *fakeServer) command(args ...string) (code int, stdout, stderr string) {
	var out, errs strings.Builder
	code = run(append(args, "--url", f.URL), &out, &errs)
	return code, out.String(), errs.String()
}

func runningWith(version string, connections ...supervisor.Connection) supervisor.Status {
	if connections == nil {
		connections = []supervisor.Connection{{Path: "root.input", Connected: true}, {Path: "root.output", Connected: true}}
	}
	return supervisor.Status{State: supervisor.StateRunning, PID: 7, Runner: "core", RunnerVersion: version, Connections: connections}
}

func fleet() map[string]supervisor.Status {
	return map[string]supervisor.Status{
		"a": runningWith("v1"), "b": runningWith("v2"), "c": runningWith("v1"),
		"d": {State: supervisor.StateFinished}, "e": {State: supervisor.StatePaused},
	}
}

func TestUpgradeRestartsWhatIsOfAnotherVersion(t *testing.T) {
	f := newFakeServer(t, fleet())
	code, out, errs := f.command("upgrade")
	assert.Equal(t, 0, code, errs)
	assert.Equal(t, "a  would be restarted: v1, then v2\nb  has version v2\nc  would be restarted: v1, then v2\n"+
		"d  has no runner: finished\ne  has no runner: paused\n"+
		"2 of 5 streams would be restarted with version v2: add --rolling\n", out)
	assert.Empty(t, f.restarted)

	code, out, errs = f.command("upgrade", "--rolling")
	assert.Equal(t, 0, code, errs)
	assert.Regexp(t, `^a  restarted in \d+\S*s: v1, now v2\nb  has version v2\nc  restarted in \d+\S*s: v1, now v2\n`+
		`d  has no runner: finished\ne  has no runner: paused\n2 of 5 streams were restarted with version v2\n$`, out)
	assert.Equal(t, []string{"a", "c"}, f.restarted)

	for _, args := range [][]string{{"upgrade"}, {"upgrade", "--rolling"}} {
		code, out, _ = f.command(args...)
		assert.Equal(t, 0, code)
		assert.True(t, strings.HasSuffix(out, "\nnone of 5 streams has to be restarted for version v2\n"), out)
	}
	assert.Equal(t, []string{"a", "c"}, f.restarted)
	code, _, _ = f.command("upgrade", "--rolling", "--all")
	assert.Equal(t, 0, code)
	assert.Equal(t, []string{"a", "c", "a", "b", "c"}, f.restarted)
}

func TestUpgradeAwaitsEachStream(t *testing.T) {
	f := newFakeServer(t, fleet())
	var wait sync.WaitGroup
	f.restart["a"] = func(s *supervisor.Status, _ http.ResponseWriter) {
		s.State, s.Connections = supervisor.StateStarting, nil
		wait.Go(func() {
			for _, change := range []func(){
				func() { s.State = supervisor.StateRunning },
				func() { s.Connections = []supervisor.Connection{{Path: "root.input"}} },
				func() { s.Connections = []supervisor.Connection{{Path: "root.input", Connected: true}} },
			} {
				time.Sleep(upgradePoll)
				f.mu.Lock()
				assert.NotContains(t, f.restarted, "c", "before a is there")
				change()
				f.mu.Unlock()
			}
		})
	}
	f.restart["c"] = func(s *supervisor.Status, _ http.ResponseWriter) { s.State, s.PID = supervisor.StateFinished, 0 }
	code, _, errs := f.command("upgrade", "--rolling")
	wait.Wait()
	assert.Equal(t, 0, code, errs)
	assert.Equal(t, []string{"a", "c"}, f.restarted)
}

// A runner that is too busy to answer at once had its connections all the same:
// the next one is to have them, too.
func TestUpgradeAwaitsTheAnswerBefore(t *testing.T) {
	f := newFakeServer(t, map[string]supervisor.Status{"a": runningWith("v1")})
	connections, asked, since := f.streams["a"].Connections, 0, 0
	f.streams["a"].Unanswered, f.streams["a"].Connections = "its runner does not answer", nil
	f.told = func(s *supervisor.Status) {
		asked++
		switch {
		case len(f.restarted) == 0 && asked == 3:
			s.Unanswered, s.Connections = "", connections
		case len(f.restarted) == 1:
			if since++; since == 3 {
				s.Connections = connections
			}
		}
	}
	f.restart["a"] = func(s *supervisor.Status, _ http.ResponseWriter) { s.Connections = nil }
	code, out, errs := f.command("upgrade", "--rolling")
	assert.Equal(t, 0, code, errs)
	assert.NotContains(t, out, "not connected")
	assert.Equal(t, 3, since)
}

func TestUpgradeStopsAtTheFirstFailure(t *testing.T) {
	for name, test := range map[string]struct {
		restart func(s *supervisor.Status, w http.ResponseWriter)
		want    string
	}{
		"refused": {func(_ *supervisor.Status, w http.ResponseWriter) {
			http.Error(w, "Error: (1,1) no", http.StatusBadRequest)
		},
			"the server answers 400: Error: (1,1) no"},
		"failed": {func(s *supervisor.Status, _ http.ResponseWriter) {
			s.State, s.Reason = supervisor.StateFailed, "panic: no"
		}, "it was restarted, but it is failed: panic: no"},
		"not connected": {func(s *supervisor.Status, _ http.ResponseWriter) {
			s.Connections = []supervisor.Connection{{Path: "root.output", Error: "refused"}}
		}, "it was restarted, but after 300ms it is running, and root.output is not connected: refused"},
		"paused meanwhile": {func(s *supervisor.Status, _ http.ResponseWriter) {
			s.State, s.Desired = supervisor.StatePaused, supervisor.DesiredPaused
		}, "it was restarted, but it is paused"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFakeServer(t, fleet())
			f.restart["a"] = test.restart
			code, out, errs := f.command("upgrade", "--rolling", "--timeout", "300ms")
			assert.Equal(t, 1, code)
			assert.Empty(t, out)
			assert.Equal(t, `penstock: stream "a": `+test.want+
				"; the streams after it were not touched: once it is mended, run the same command again to go on\n", errs)
			assert.Equal(t, []string{"a"}, f.restarted)
		})
	}
}

func TestUpgradePassesOverWhatWasDownBefore(t *testing.T) {
	down := supervisor.Connection{Path: "root.output", Error: "refused"}
	f := newFakeServer(t, map[string]supervisor.Status{"a": runningWith("v1", down)})
	code, out, errs := f.command("upgrade", "--rolling")
	assert.Equal(t, 0, code, errs)
	assert.Contains(t, out, "v1, now v2, not connected, as before\n")
}

func TestUpgradeSendsTheToken(t *testing.T) {
	f := newFakeServer(t, fleet())
	f.token = "s3cret"
	code, _, errs := f.command("upgrade")
	assert.Equal(t, 1, code)
	assert.Contains(t, errs, "the server answers 401: Error: send the bearer token: name the file that holds it by --token-file\n")

	file := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(file, []byte("another\n"), 0o600))
	code, _, errs = f.command("status", "--token-file", file)
	assert.Equal(t, 1, code)
	assert.Contains(t, errs, ": --token-file "+file+" holds another one\n")
	require.NoError(t, os.WriteFile(file, []byte("s3cret\n"), 0o600))
	code, _, errs = f.command("upgrade", "--token-file", file)
	assert.Equal(t, 0, code, errs)
	code, _, errs = f.command("upgrade", "--token-file", file+"x")
	assert.Equal(t, 1, code)
	assert.Contains(t, errs, "cannot read --token-file")
}

func TestUpgradeOfAnotherServer(t *testing.T) {
	f := newFakeServer(t, nil)
	f.runner = ""
	code, _, errs := f.command("upgrade")
	assert.Equal(t, 1, code)
	assert.Contains(t, errs, "does not tell the version of its runner binary")
	f.Close()
	code, _, errs = f.command("upgrade")
	assert.Equal(t, 1, code)
	assert.Contains(t, errs, "the server does not answer")
}

func TestStatusTable(t *testing.T) {
	states := fleet()
	states["c"] = runningWith("v1", supervisor.Connection{Path: "root.output", Error: "refused"})
	failed := states["d"]
	failed.State, failed.Restarts = supervisor.StateFailed, 5
	failed.LastExit = &supervisor.LastExit{Message: "panic: no\n\ngoroutine 1"}
	states["d"] = failed
	limited := states["a"]
	limited.Isolation.Profile, limited.Isolation.Limits.Enforcement = supervisor.ProfileStrict, supervisor.EnforcedByCgroup
	limited.Warnings = []string{"it has more than 10000 metric series", "its disk is\nnearly full"}
	states["a"] = limited
	watched := states["b"]
	watched.Isolation.Profile, watched.Isolation.Limits.Enforcement = supervisor.ProfileStandard, supervisor.NotEnforced
	states["b"] = watched
	f := newFakeServer(t, states)
	code, out, errs := f.command("status")
	require.Equal(t, 0, code, errs)
	assert.Equal(t, []string{
		"STREAM STATE SINCE RESTARTS PID RUNNER ISOLATION NOTE",
		"a running 1m30s 0 7 core v1 strict+cgroup it has more than 10000 metric series; its disk is nearly full",
		"b running 1m30s 0 7 core v2 standard",
		"c running 1m30s 0 7 core v1 - root.output is not connected: refused",
		"d failed 1m30s 5 - - - panic: no goroutine 1",
		"e paused 1m30s 0 - - -",
	}, rows(out))

	code, out, _ = f.command("status", "e", "a")
	assert.Equal(t, 0, code)
	assert.Len(t, rows(out), 3)
	code, _, errs = f.command("status", "x")
	assert.Equal(t, 1, code)
	assert.Equal(t, "penstock: stream \"x\": the server answers 404: Stream not found\n", errs)
}

// rows are the lines of a table with one blank between the cells.
func rows(table string) []string {
	var out []string
	for line := range strings.Lines(table) {
		out = append(out, strings.Join(strings.Fields(line), " "))
	}
	return out
}

func TestAnswersThatAreNoJSON(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") }))
	defer server.Close()
	var stdout, stderr strings.Builder
	assert.Equal(t, 1, run([]string{"status", "--url", server.URL}, &stdout, &stderr))
	assert.Contains(t, stderr.String(), "is that a Penstock")
	assert.Equal(t, 1, run([]string{"status", "--url", "http://["}, &stdout, &stderr))
	assert.Contains(t, stderr.String(), "is no URL")
}
