package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	// referencePort is free: the namespace is the reference's own.
	referencePort = 4195
	// referenceUser is nobody's.
	referenceUser = 399999
	// referenceNeighbours are streams that have nothing to do with the config.
	referenceNeighbours = 3
	// referenceTime is how long a config is left to do what it does.
	referenceTime = 4 * time.Second
	// referenceSlow is from when on an answer is worth a remark.
	referenceSlow = 1500 * time.Millisecond
)

// referenceLimits are those of the process as a whole, by the file of cgroup v1.
var referenceLimits = map[string]string{
	"memory/memory.limit_in_bytes": "512M",
	"cpu/cpu.cfs_quota_us":         "100000",
	"pids/pids.max":                "512",
}

// referenceControllers are those of its cgroups.
var referenceControllers = []string{"memory", "cpu", "cpuacct", "pids"}

// referenceScript runs the reference: in the cgroups of its first argument, with
// a small /tmp of its own, as an ordinary user without any privilege.
const referenceScript = `set -e
mount --make-rprivate /
mount -t proc proc /proc
mount -t tmpfs -o mode=755 own /opt
cp "$2" /opt/reference
printf 'http:\n  address: 127.0.0.1:%s\n' "$3" > /opt/config.yaml
mount -t tmpfs -o mode=1777,size=64m,nr_inodes=16k own /tmp
mkdir -p /tmp/streams/neighbour/data
printf '%s' "$5" > /tmp/streams/neighbour/data/secret
for controller in memory cpu cpuacct pids; do echo 0 > /sys/fs/cgroup/$controller/$1/cgroup.procs; done
cd /tmp
setpriv --reuid "$4" --regid "$4" --clear-groups --no-new-privs --bounding-set -all /opt/reference streams -o /opt/config.yaml &
echo $! > /opt/pid
wait $!
`

// confined is the world as the reference is put into it, with namespaces of its
// own.
type confined struct{ *hostileWorld }

func (c confined) start(cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS | syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS,
	}
	return c.hostileWorld.start(cmd)
}

// confinedReference is the reference in its confinement, with neighbours that
// are called all the time.
type confinedReference struct {
	*server
	load *steady
	// leaf is the name of its cgroups.
	leaf string
	// inner is its process id in its own namespace, and process the one here.
	inner   string
	process int
}

// cgroupFile is a file of one of its cgroups, by controller and name.
func (r *confinedReference) cgroupFile(file string) string {
	return filepath.Join("/sys/fs/cgroup", filepath.Dir(file), r.leaf, filepath.Base(file))
}

func (r *confinedReference) figure(file string) int64 {
	text, _ := os.ReadFile(r.cgroupFile(file))
	figure, _ := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	return figure
}

// tmp is its /tmp.
func (r *confinedReference) tmp() string { return procFile(r.PID, "root/tmp") }

// startConfined starts the reference, which ends with the test.
func startConfined(t *testing.T, world *hostileWorld) *confinedReference {
	t.Helper()
	bin, err := reference()
	require.NoError(t, err)
	r := &confinedReference{leaf: fmt.Sprintf("penstock-test-reference-%d", os.Getpid()), load: newSteady(t)}
	for _, controller := range referenceControllers {
		dir := filepath.Dir(r.cgroupFile(controller + "/"))
		require.NoError(t, os.MkdirAll(dir, 0o755), "the reference's cgroup: this needs cgroup v1")
		t.Cleanup(func() { require.NoError(t, os.Remove(dir)) })
	}
	for file, value := range referenceLimits {
		require.NoError(t, os.WriteFile(r.cgroupFile(file), []byte(value), 0o600))
	}
	config := neighbour(world)
	r.server, err = startServerIn(t, confined{world}, "/bin/sh", "-c", referenceScript, "sh",
		r.leaf, bin, strconv.Itoa(referencePort), strconv.Itoa(referenceUser), world.secrets["neighbour"])
	require.NoError(t, err)
	t.Cleanup(func() { r.close(); r.kill() })
	r.Base = fmt.Sprintf("http://127.0.0.1:%d", referencePort)
	await(t, startTimeout, "the reference's first pong", r.pong)
	inner, err := os.ReadFile(procFile(r.PID, "root/opt/pid"))
	require.NoError(t, err)
	r.inner = strings.TrimSpace(string(inner))
	// The shell's only child.
	below := children(r.PID)
	require.Len(t, below, 1)
	r.process = below[0].PID
	r.load.where = world
	for i := range referenceNeighbours {
		id := neighbourID
		if i > 0 {
			id = fmt.Sprintf("%s%d", id, i)
		}
		r.expect(t, 200, "POST", "/streams/"+id, strings.Replace(config, neighbourID+":", id+":", 1))
		r.load.post(r.Base, id, 50*time.Millisecond)
	}
	r.load.awaitAnswers(t)
	return r
}

// referenceOutcome runs a config in the reference and says in a line what came
// of it.
func referenceOutcome(t *testing.T, h hostileConfig) string {
	world := newHostileWorld(t)
	r := startConfined(t, world)
	// The block is Penstock's own.
	h.Config = regexp.MustCompile(`(?m)^runtime: .*$`).ReplaceAllString(h.Config, "")
	address := strings.TrimPrefix(r.Base, "http://")
	a := newAttack(h, world, r.client, "{{api}}", address, "{{port}}", strconv.Itoa(referencePort), "{{pid}}", r.inner,
		"{{data}}", "/tmp", "{{neighbour}}", "/tmp/streams/neighbour/data", "{{neighbour_socket}}", "/tmp/none")
	defer a.server.close()
	before, busy := openPorts(r.PID), r.figure("cpuacct/cpuacct.usage")
	begun := time.Now()
	err := a.post(t.Context())
	posted := time.Since(begun)
	if err == nil && a.created.Status == http.StatusOK {
		stop := a.dawdle(t.Context())
		_ = a.call(t.Context())
		a.rest(t.Context(), r.server, begun)
		stop()
	}
	if err != nil && posted < requestTimeout {
		// Its end is noticed a moment later.
		_ = poll(margin, func() error { return errors.Join(r.alive(), errors.New("it lives")) })
	}
	log, _ := os.ReadFile(r.LogFile)
	var found []string
	switch {
	case err != nil && posted >= requestTimeout:
		found = append(found, fmt.Sprintf("never answered, in %s", requestTimeout))
	case err != nil && bytes.Contains(log, []byte("panic serving")):
		found = append(found, "**panicked, without an answer**")
	case err == nil && a.created.Status != http.StatusOK:
		found = append(found, strings.TrimSuffix(fmt.Sprintf("refused, %d: %s", a.created.Status, firstOf(a.created)), ": "))
	}
	found = append(found, strong(a.spied(r, log))...)
	if _, err := os.Lstat(procFile(r.PID, "root"+world.words["shared"])); err == nil {
		found = append(found, "**left a file for others in /tmp**")
	}
	for port, name := range openPorts(r.PID) {
		if _, known := before[port]; !known {
			found = append(found, "**listens on "+name+"**")
		}
	}
	found = append(found, strong(a.list(t.Context()))...)
	found = append(found, strong(a.never(log))...)
	found = append(found, strong(r.harm(log, begun, busy))...)
	if len(found) == 0 {
		found = append(found, "runs"+a.complaint(log))
	}
	return world.mask(strings.Join(found, "; "), a.words)
}

func strong(texts []string) []string {
	for i, text := range texts {
		texts[i] = "**" + text + "**"
	}
	return texts
}

// spied says which secrets were seen, and what was touched and reached.
func (a *attack) spied(r *confinedReference, log []byte) []string {
	names := append(a.leaks(), a.world.leaks(log)...)
	leaks, _ := a.world.leaksBelow(r.tmp())
	for _, leak := range leaks {
		if name, file, _ := strings.Cut(leak, " in "); !strings.Contains(file, "/streams/neighbour/") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	names = slices.Compact(names)
	for i, name := range names {
		names[i] = "read the secret of the " + name
	}
	return append(names, a.world.found()...)
}

// harm says what the process as a whole has come to since an attack began, when
// it had been busy for so many nanoseconds.
func (r *confinedReference) harm(log []byte, begun time.Time, busy int64) (found []string) {
	elapsed := time.Since(begun)
	served := r.load.sum()
	if r.alive() != nil {
		return []string{fmt.Sprintf("the process ended, and all %d streams with it: %s", referenceNeighbours+1, r.lastWords(log))}
	}
	if served.NFailures > 0 {
		found = append(found, fmt.Sprintf("%d of %d requests to its neighbours failed", served.NFailures, served.Count))
	}
	if served.Max > referenceSlow {
		found = append(found, fmt.Sprintf("its neighbours answered after up to %s", served.Max.Round(100*time.Millisecond)))
	}
	if share := (r.figure("cpuacct/cpuacct.usage") - busy) * 100 / elapsed.Nanoseconds(); share > 20 {
		found = append(found, fmt.Sprintf("used %d %% of the core of all streams", share))
	}
	if tasks := r.figure("pids/pids.current"); tasks > 128 {
		found = append(found, fmt.Sprintf("made %d of the 512 threads and processes of all streams", tasks))
	}
	if peak := r.figure("memory/memory.max_usage_in_bytes"); peak > 400<<20 {
		found = append(found, fmt.Sprintf("took %d of the 512 MiB of all streams", peak>>20))
	}
	if len(log) > 16<<20 {
		found = append(found, fmt.Sprintf("logged %d MiB in %s, without a bound", len(log)>>20, elapsed.Round(time.Second)))
	}
	if files, _ := openFiles(r.process); files > 256 {
		found = append(found, fmt.Sprintf("opened %d files", files))
	}
	var fs syscall.Statfs_t
	switch {
	case syscall.Statfs(r.tmp(), &fs) != nil:
	case fs.Bavail*100 < fs.Blocks:
		found = append(found, "filled the disk of all streams")
	case fs.Ffree*100 < fs.Files:
		found = append(found, "left no room for another file of any stream")
	}
	return found
}

// lastWords says how the process has ended.
func (r *confinedReference) lastWords(log []byte) string {
	if kills, _ := os.ReadFile(r.cgroupFile("memory/memory.oom_control")); !bytes.Contains(kills, []byte("oom_kill 0")) {
		return "killed for lack of memory"
	}
	const killed = 128 + int(syscall.SIGKILL)
	if r.cmd.ProcessState.ExitCode() == killed {
		return "killed by a signal"
	}
	fatal := regexp.MustCompile(`(?m)^(panic: |fatal error: |runtime: failed).*$`).Find(log)
	if fatal != nil {
		return string(fatal)
	}
	return r.cmd.ProcessState.String()
}

// openPorts are the TCP ports that somebody in the namespace of a process listens
// on, and its UDP ports that are not connected: what to call them, by address.
func openPorts(pid int) map[string]string {
	const listens, unconnected = "0A", "07"
	ports := map[string]string{}
	for file, state := range map[string]string{"tcp": listens, "tcp6": listens, "udp": unconnected, "udp6": unconnected} {
		table, _ := os.ReadFile(procFile(pid, "net/"+file))
		for line := range strings.Lines(string(table)) {
			f := strings.Fields(line)
			if len(f) < 4 || f[3] != state {
				continue
			}
			port, _ := strconv.ParseUint(f[1][strings.LastIndexByte(f[1], ':')+1:], 16, 16)
			kind := strings.ToUpper(file[:3])
			ports[file+f[1]] = fmt.Sprintf("%s port %d", kind, port)
			if port > 30000 {
				ports[file+f[1]] = fmt.Sprintf("a %s port that the kernel chose", kind)
			}
		}
	}
	return ports
}

// rest waits until the config had its time, or there is nobody to have it.
func (a *attack) rest(ctx context.Context, s *server, begun time.Time) {
	tick := time.NewTicker(hostileEvery)
	defer tick.Stop()
	for time.Since(begun) < referenceTime && s.alive() == nil {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// list looks at the streams there are: who is missing, and who is new.
func (a *attack) list(ctx context.Context) []string {
	streams, err := listStreams(ctx, a.server)
	if err != nil {
		return nil
	}
	var found []string
	if _, there := streams[neighbourID]; !there {
		found = append(found, "deleted another stream")
	}
	if _, there := streams["planted"]; there {
		found = append(found, "created a stream")
	}
	stats, err := a.get(ctx, "/streams/"+a.ID+"/stats")
	var series map[string]any
	if err == nil && json.Unmarshal(stats.Body, &series) == nil && len(series) > 2000 {
		found = append(found, fmt.Sprintf("has %d metric series", len(series)))
	}
	return found
}

// never says what was said that never should be.
func (a *attack) never(log []byte) (found []string) {
	for _, says := range a.Never {
		pattern := regexp.MustCompile(says)
		text := a.quote(says)
		if text == "" {
			text = string(pattern.Find(log))
		}
		if text != "" {
			found = append(found, "said: "+text)
		}
	}
	return found
}

// failedLine is a line of the log that tells of a failure.
var failedLine = regexp.MustCompile(`msg="((?:[^"\\]|\\.)*(?:denied|refused|failed|Failed|no such|error)(?:[^"\\]|\\.)*)"`)

// complaint is what the reference's log says of a stream that came to nothing.
func (a *attack) complaint(log []byte) string {
	for _, says := range a.Says {
		if found := regexp.MustCompile(says).Find(log); found != nil {
			return ": " + string(found)
		}
	}
	lines := failedLine.FindAllSubmatch(log, -1)
	if len(lines) == 0 {
		return ""
	}
	return ": " + strings.ReplaceAll(string(lines[len(lines)-1][1]), `\"`, `"`)
}
