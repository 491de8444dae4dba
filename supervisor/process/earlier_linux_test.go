package process

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// startEarlier has an earlier supervisor start a runner and die. The runner is
// nobody's child then but the system's.
func startEarlier(t *testing.T, l *Launcher, config string, orphanTimeout time.Duration) Identity {
	t.Helper()
	task, err := json.Marshal(earlier{l.binary, l.runDir, t.TempDir(), config, orphanTimeout})
	require.NoError(t, err)
	cmd := exec.Command(os.Args[0])
	// The race detector would have it linger for a second.
	cmd.Env = append(os.Environ(), earlierVariable+"="+string(task), "GORACE=atexit_sleep_ms=0")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	require.NoError(t, err)
	var id Identity
	require.NoError(t, json.Unmarshal(out, &id))
	t.Cleanup(func() { endLeftover(filepath.Join(l.runDir, id.Dir)) })
	return id
}

func adopt(t *testing.T, l *Launcher, id Identity) *Process {
	t.Helper()
	p, err := l.Adopt(id, nil)
	require.NoError(t, err)
	t.Cleanup(p.Kill)
	return p
}

// awaitGone waits until the process of an earlier supervisor has ended.
func awaitGone(t *testing.T, l *Launcher, id Identity) {
	t.Helper()
	require.Eventually(t, func() bool {
		stat, err := readStat(id.PID)
		return err != nil || stat.startTime != id.StartTime || stat.dead()
	}, patience, 5*time.Millisecond)
	_, err := l.Adopt(id, nil)
	require.ErrorIs(t, err, ErrGone)
}
