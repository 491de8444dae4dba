package catalogue

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"penstock/rpc"
)

// TestABinaryThatHangsLeavesNothing: neither what is killed nor what has ended by
// itself leaves children.
func TestABinaryThatHangsLeavesNothing(t *testing.T) {
	for name, text := range map[string]string{"is killed": "wait\n", "ends": "exit 1\n"} {
		t.Run(name, func(t *testing.T) {
			p := newPlace(t)
			child := filepath.Join(p.dir, "child")
			script(t, p.cfg.Core+"-hangs", "sleep 1000 & echo $! > "+child+".new; mv "+child+".new "+child+"\n"+text)
			i := New(p.cfg, zap.NewNop())
			var pid int
			require.Eventually(t, func() bool {
				said, err := os.ReadFile(child)
				if err == nil {
					pid, err = strconv.Atoi(strings.TrimSpace(string(said)))
				}
				return err == nil
			}, awhile, 5*time.Millisecond)
			if name == "ends" {
				assert.Equal(t, []string{"hangs"}, named(whole(t, i).Faulty()))
			}
			i.Close()
			gone := func() bool {
				// One that nobody has waited for is dead, too.
				state, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
				return syscall.Kill(pid, 0) != nil || err == nil && strings.Contains(string(state), ") Z ")
			}
			if !assert.Eventually(t, gone, awhile, 5*time.Millisecond, "the child lives") {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		})
	}
}

// TestWhoHangsIsWaitedForOnce: those who have described themselves are told, at once
// when the others have had their time.
func TestWhoHangsIsWaitedForOnce(t *testing.T) {
	p := newPlace(t)
	script(t, p.cfg.Core+"-hangs", "exec sleep 1000\n")
	script(t, p.cfg.Core+"-more", says(t, p.dir, with(component(rpc.TypeInput, "queue"))))
	i := p.begin(t)
	require.Eventually(t, func() bool {
		return assert.ObjectsAreEqual([]string{"core", "more"}, named(i.Now().Told(t.Context(), 0)))
	}, awhile, 5*time.Millisecond)
	const once = 300 * time.Millisecond
	began := time.Now()
	for range 100 {
		assert.Len(t, i.Now().Told(t.Context(), once), 2)
	}
	assert.Less(t, time.Since(began), 50*once, "it was waited for again and again")
	select {
	case <-i.Now().round.whole:
		t.Fatal("the one that hangs has ended")
	default:
	}
}

// TestBuildIDsAreNotTrusted: two binaries of one build id are two.
func TestBuildIDsAreNotTrusted(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("no notes are read of other binaries than Linux's")
	}
	p := newPlace(t)
	source := filepath.Join(p.dir, "main.go")
	require.NoError(t, os.WriteFile(source, []byte(`package main

import "os"

var said string

func main() {
	text, err := os.ReadFile(said)
	if err != nil {
		panic(err)
	}
	os.Stdout.Write(text)
}
`), 0o600))
	build := func(class rpc.ComponentType, name string) {
		fields := strings.Fields(says(t, p.dir, with(component(class, name))))
		said := fields[len(fields)-1]
		cmd := exec.CommandContext(t.Context(), "go", "build", "-ldflags", "-buildid=same -X main.said="+said, "-o", p.cfg.Core+"-twin.new~", source)
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, string(out))
		require.Equal(t, "same", goBuildID(p.cfg.Core+"-twin.new~"))
		require.NoError(t, os.Rename(p.cfg.Core+"-twin.new~", p.cfg.Core+"-twin"))
	}
	for _, name := range []string{"queue", "pipe"} {
		build(rpc.TypeInput, name)
		// Another server: it knows what the last one has kept.
		i := New(p.cfg, p.log)
		twin := whole(t, i).find("twin")
		i.Close()
		if assert.NotNil(t, twin) {
			assert.True(t, twin.Carries(Named{Refs: []Ref{{rpc.TypeInput, name, "input"}}}), name)
		}
	}
}
