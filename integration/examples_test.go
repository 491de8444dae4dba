package integration

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// documented is the server that the comments of the examples speak of.
const documented = "http://127.0.0.1:4195"

// documentedOwn is the address of the one that listens itself.
const documentedOwn = "127.0.0.1:4196"

// interrupt is what the Ctrl-C key sends to a terminal.
const interrupt = "\x03"

// exampleDrivers show, for each file of configs/examples, that it does what
// its header says. told is what its curl lines printed, in their order.
var exampleDrivers = map[string]func(t *testing.T, run *exampleRun, told []string){
	"caching":   driveCaching,
	"direct":    driveDirect,
	"files":     driveFiles,
	"guarded":   driveGuarded,
	"heartbeat": driveHeartbeat,
	"later":     driveLater,
	"lookup":    driveLookup,
	"limited":   driveLimited,
	"queue":     driveQueue,
	"router":    driveRouter,
	"uppercase": driveUppercase,
	"scaled":    driveScaled,
	"steady":    driveSteady,
	"templated": driveTemplated,
}

// exampleRun is a `make run`.
type exampleRun struct {
	*client
	// temp is its TMPDIR.
	temp string
	// data is its data folder.
	data string
	// own is where it has what listens at documentedOwn.
	own string
}

// sh runs a line that a reader of the comments would type, and returns what it
// prints.
func (r *exampleRun) sh(t *testing.T, line string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sh", "-c", strings.NewReplacer(documented, r.Base, documentedOwn, r.own).Replace(line))
	cmd.Env = append(os.Environ(), "TMPDIR="+r.temp, "PATH="+curlPath(t))
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		err = fmt.Errorf("%w: %s", err, exit.Stderr)
	}
	require.NoError(t, err, line)
	return strings.TrimSpace(string(out))
}

// TestExamples is a person at a terminal who types `make run`, what the banner
// and the comments of the examples propose, and then Ctrl-C.
func TestExamples(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join(repo, "configs", "examples", "*"))
	require.NoError(t, err)
	var ids []string
	for _, file := range files {
		ids = append(ids, strings.TrimSuffix(filepath.Base(file), ".yaml"))
	}
	for id := range exampleDrivers {
		assert.Contains(t, ids, id, "a driver without an example")
	}

	run, terminal := makeRun(t)
	banner := bannerOf(t, terminal)
	run.Base = banner.base
	assert.Contains(t, banner.text, fmt.Sprint(len(files)), "how many streams there are")
	assert.Contains(t, banner.text, banner.base+"/ready")
	var listed map[string]status
	run.getJSON(t, "/streams", &listed)
	for _, id := range ids {
		assert.True(t, listed[id].Active, id)
	}
	require.Len(t, banner.tries, 3)
	for _, line := range banner.tries {
		assert.NotContains(t, line, documented)
		assert.NotEmpty(t, run.sh(t, strings.Replace(line, "curl ", "curl --fail ", 1)), line)
	}

	t.Run("each", func(t *testing.T) {
		for _, id := range ids {
			t.Run(id, func(t *testing.T) {
				t.Parallel()
				drive, ok := exampleDrivers[id]
				require.True(t, ok, "configs/examples has a file that no test drives")
				var told []string
				for _, line := range curlLines(readRepo(t, "configs/examples/"+id+".yaml")) {
					told = append(told, run.sh(t, line))
				}
				require.NotEmpty(t, told, "the header proposes no curl line")
				drive(t, run, told)
			})
		}
	})

	require.NotEmpty(t, mentioning(run.data))
	run.close()
	terminal.write(t, interrupt)
	select {
	case <-terminal.exited:
	case <-time.After(stopTimeout):
		assert.Fail(t, "make run does not end after Ctrl-C", "%v\n%s", mentioning(run.data), terminal.shown())
	}
	assert.Empty(t, mentioning(run.data), "processes that outlived make run")
	assert.NotContains(t, terminal.shown(), "panic")
}

// makeRun types `make run` at a terminal. The Makefile's recipe runs as it is,
// except that the binaries are there already, and that the server is told
// another port, another data folder and another cgroup than the recipe's, and
// has the examples with another port of their own.
func makeRun(t *testing.T) (*exampleRun, *terminal) {
	t.Helper()
	bin, err := product()
	require.NoError(t, err)
	dir, err := os.MkdirTemp("", "penstock-make-")
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, os.RemoveAll(dir)) })
	run := &exampleRun{client: newClient(""), temp: t.TempDir(), data: filepath.Join(dir, "data"), own: freeAddress(t)}
	examples := run.examples(t, filepath.Join(dir, "examples"))
	wrapper := fmt.Sprintf("#!/bin/sh\nfor arg do shift; [ \"$arg\" = configs/examples ] && arg=%s; set -- \"$@\" \"$arg\"; done\nexec %s \"$@\" --listen 127.0.0.1:0 --data-dir %s --runner %s --set limits.cgroup_parent=%s\n",
		examples, bin.Penstock, run.data, bin.Runner, cgroupParent())
	require.NoError(t, os.WriteFile(filepath.Join(dir, "penstock"), []byte(wrapper), 0o700))
	cmd := exec.Command("make", "run", "GO=true", "BIN="+dir)
	cmd.Dir = repo
	for _, entry := range os.Environ() {
		if !strings.HasPrefix(entry, "MAKE") && !strings.HasPrefix(entry, "MFLAGS=") {
			cmd.Env = append(cmd.Env, entry)
		}
	}
	cmd.Env = append(cmd.Env, "TMPDIR="+run.temp)
	return run, startInTerminal(t, cmd)
}

// examples are those of the repository in a folder of the test's, with a free port
// in the place of the one that they name.
func (r *exampleRun) examples(t *testing.T, dir string) string {
	t.Helper()
	require.NoError(t, os.CopyFS(dir, os.DirFS(filepath.Join(repo, "configs", "examples"))))
	path := filepath.Join(dir, "direct.yaml")
	text := readText(t, path)
	require.Contains(t, text, "listen: "+documentedOwn)
	require.NoError(t, os.WriteFile(path, []byte(strings.ReplaceAll(text, documentedOwn, r.own)), 0o600))
	return dir
}

// banner is what serve prints once it serves.
type banner struct {
	text, base string
	// tries are the lines that it proposes to type.
	tries []string
}

var bannerForm = regexp.MustCompile(`Penstock .*\n\s+streams\s+(http://\S+)/streams\n(?:.*\n)*?Try\n((?:  .*\n)+)Ctrl-C`)

func bannerOf(t *testing.T, terminal *terminal) banner {
	t.Helper()
	var found []string
	await(t, startTimeout, "the banner", func() error {
		text := strings.ReplaceAll(terminal.shown(), "\r\n", "\n")
		if found = bannerForm.FindStringSubmatch(text); found != nil {
			return nil
		}
		select {
		case <-terminal.exited:
			return fmt.Errorf("%w: make run has ended", errHopeless)
		default:
			return errors.New("the terminal does not show it")
		}
	})
	b := banner{text: found[0], base: found[1]}
	for line := range strings.Lines(found[2]) {
		b.tries = append(b.tries, strings.TrimSpace(line))
	}
	return b
}

// curlLines are the calls in the comments at the head of an example.
func curlLines(text string) []string {
	var found []string
	for line := range strings.Lines(text) {
		comment, ok := strings.CutPrefix(line, "#")
		if !ok {
			break
		}
		if comment = strings.TrimSpace(comment); strings.HasPrefix(comment, "curl ") {
			found = append(found, comment)
		}
	}
	return found
}

func driveUppercase(t *testing.T, run *exampleRun, told []string) {
	assert.Equal(t, []string{"HELLO PENSTOCK"}, told)
	assert.Equal(t, "ŻÓŁW", run.expect(t, http.StatusOK, http.MethodPost, "/uppercase/post", "żółw").Text())
}

func driveTemplated(t *testing.T, run *exampleRun, told []string) {
	assert.Equal(t, []string{"too many blanks"}, told)
	assert.Equal(t, "a b", run.expect(t, http.StatusOK, http.MethodPost, "/templated/post", " a \n b").Text())
}

func driveCaching(t *testing.T, run *exampleRun, told []string) {
	require.Len(t, told, 1)
	assert.Regexp(t, `^{"ticket":"[0-9a-f-]{36}"}$`, told[0])
	post := func(seat string) string {
		return run.expect(t, http.StatusOK, http.MethodPost, "/caching/post", seat).Text()
	}
	assert.Equal(t, told[0], post("seat 12"), "equal bodies get the same ticket")
	assert.NotEqual(t, told[0], post("seat 13"))
}

func driveLookup(t *testing.T, run *exampleRun, told []string) {
	require.Len(t, told, 2)
	assert.Regexp(t, `^{"ticket":"[0-9a-f-]{36}"}$`, told[0])
	assert.Equal(t, told[0], told[1], "it has what the other stream has put there")
	assert.Equal(t, `{"ticket":null}`, run.expect(t, http.StatusOK, http.MethodPost, "/lookup/post", "seat 41").Text())
}

func driveLater(t *testing.T, run *exampleRun, told []string) {
	require.Len(t, told, 3)
	assert.Regexp(t, `^{"id":"[A-Z2-7]{26}","status":"queued",`, told[0])
	assert.Equal(t, []string{"done with hello", "done with now"}, told[1:])
	var list struct{ Calls []asyncCall }
	run.getJSON(t, "/calls?stream=later", &list)
	assert.Len(t, list.Calls, 2)
}

func driveFiles(t *testing.T, run *exampleRun, told []string) {
	const tea = `{"count":3,"item":"tea","price":4,"total":12}`
	require.Len(t, told, 1)
	// The banner may have proposed the same line before.
	assert.Equal(t, tea, strings.TrimPrefix(told[0], tea+"\n"))
	run.expect(t, http.StatusOK, http.MethodPost, "/files/post", `{"item":"cake","price":2.5,"count":2}`)
	assert.Equal(t, told[0]+"\n"+`{"count":2,"item":"cake","price":2.5,"total":5}`+"\n",
		readText(t, filepath.Join(run.temp, "penstock-orders.ndjson")))
}

func driveHeartbeat(t *testing.T, run *exampleRun, told []string) {
	require.Len(t, told, 1)
	var tree map[string]any
	require.NoError(t, json.Unmarshal([]byte(told[0]), &tree))
	assert.Subset(t, slices.Collect(maps.Keys(tree)), []string{"input", "pipeline", "output", "process", "uptime_ns"})
	await(t, finishTimeout, "the first beat", func() error {
		var stats struct{ Output struct{ Sent float64 } }
		run.getJSON(t, "/streams/heartbeat/stats", &stats)
		if stats.Output.Sent == 0 {
			return errors.New("none was sent")
		}
		return nil
	})
	host, err := os.Hostname()
	require.NoError(t, err)
	logs, err := filepath.Glob(filepath.Join(run.data, "*", "heartbeat", "stream.log"))
	require.NoError(t, err)
	require.Len(t, logs, 1)
	assert.Contains(t, readText(t, logs[0]), "beat 1 of "+host)
}

func driveLimited(t *testing.T, run *exampleRun, told []string) {
	require.Len(t, told, 3)
	assert.JSONEq(t, `{"bytes":1000}`, told[0])
	assert.NotContains(t, told[1], "bytes", "half a gigabyte fits into 64 MiB")
	await(t, changeTimeout, "the runner after the one that was killed", func() error {
		var s struct {
			State    string
			Restarts int
			LastExit *struct {
				Reason string
				Limit  int64 `json:"limit_bytes"`
			} `json:"last_exit"`
		}
		run.getJSON(t, "/streams/limited/status", &s)
		if s.State != "running" || s.LastExit == nil {
			return fmt.Errorf("it is %+v", s)
		}
		assert.Equal(t, "oom", s.LastExit.Reason)
		assert.EqualValues(t, 64<<20, s.LastExit.Limit)
		assert.Equal(t, 1, s.Restarts)
		return nil
	})
	assert.Equal(t, "NEIGHBOUR", run.expect(t, http.StatusOK, http.MethodPost, "/uppercase/post", "neighbour").Text())
	assert.JSONEq(t, `{"bytes":7}`, run.expect(t, http.StatusOK, http.MethodPost, "/limited/post", "7").Text())
}

func driveQueue(t *testing.T, run *exampleRun, told []string) {
	require.Len(t, told, 1)
	assert.Regexp(t, `^{"queued_at":"[^"]+","user":"ann"}$`, told[0])
	began := time.Now()
	run.expect(t, http.StatusRequestTimeout, http.MethodGet, "/queue/get", "")
	assert.InDelta(t, 5*time.Second, time.Since(began), float64(2*time.Second), "the wait on an empty queue")

	follower := follow(t, run.client, "/queue/get/stream")
	for _, n := range []string{"1", "2"} {
		run.expect(t, http.StatusOK, http.MethodPost, "/queue/post", `{"n":`+n+`}`)
		assert.Regexp(t, `^{"n":`+n+`,"queued_at":"[^"]+"}$`, follower.line(t))
	}
	hangUp(t, run.client, "queue", follower.Close)

	conn, err := dial(t.Context(), run.client, "/queue/get/ws")
	require.NoError(t, err)
	defer conn.Close()
	run.expect(t, http.StatusOK, http.MethodPost, "/queue/post", `{"n":3}`)
	_, message, err := conn.ReadMessage()
	require.NoError(t, err)
	assert.Regexp(t, `^{"n":3,"queued_at":"[^"]+"}$`, string(message))
}

func driveRouter(t *testing.T, run *exampleRun, told []string) {
	const later = `{"priority":"low","text":"dust"}`
	assert.Equal(t, []string{`{"on it":"fire"}`, later}, told)
	assert.Equal(t, later+"\n", readText(t, filepath.Join(run.temp, "penstock-later.ndjson")), "the urgent one is not in the file")
}

func driveSteady(t *testing.T, run *exampleRun, told []string) {
	require.Len(t, told, 2)
	assert.JSONEq(t, `{"square":4}`, told[0])
	type steadyStatus struct {
		State    string
		PID      int
		Restarts int
		LastExit *struct{ Reason, Signal string } `json:"last_exit"`
	}
	var first steadyStatus
	require.NoError(t, json.Unmarshal([]byte(told[1]), &first))
	assert.Equal(t, "running", first.State)
	require.NoError(t, syscall.Kill(first.PID, syscall.SIGKILL))
	await(t, changeTimeout, "the next runner", func() error {
		var next steadyStatus
		run.getJSON(t, "/streams/steady/status", &next)
		if next.State != "running" || next.PID == first.PID {
			return fmt.Errorf("it is %+v", next)
		}
		assert.Equal(t, 1, next.Restarts)
		assert.Equal(t, "SIGKILL", next.LastExit.Signal)
		return nil
	})
}
