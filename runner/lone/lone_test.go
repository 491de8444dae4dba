package lone_test

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"penstock/runner/lone"
)

// report has the test binary say how many processors it has, before and after
// End.
const report = "LONE_TEST_REPORT"

func TestMain(m *testing.M) {
	if os.Getenv(report) != "" {
		fmt.Print(runtime.GOMAXPROCS(0), " ", lone.Processors())
		lone.End()
		fmt.Print(" ", runtime.GOMAXPROCS(0))
		runtime.GOMAXPROCS(1)
		lone.End()
		fmt.Print(" ", runtime.GOMAXPROCS(0))
		return
	}
	goleak.VerifyTestMain(m)
}

func TestOneProcessorUntilTheEnd(t *testing.T) {
	executable, err := os.Executable()
	require.NoError(t, err)
	// As many as a process has that nobody told anything.
	before := runtime.GOMAXPROCS(0)
	t.Cleanup(func() { runtime.GOMAXPROCS(before) })
	runtime.SetDefaultGOMAXPROCS()
	usual := runtime.GOMAXPROCS(0)
	for _, test := range []struct {
		name, gogc string
		more       []string
		begin, all int
	}{
		{"started ahead", lone.AheadGOGC, nil, 1, usual},
		{"started ahead, the operator has chosen", lone.AheadGOGC, []string{"GOMAXPROCS=3"}, 1, 3},
		{"started for its stream", "400", nil, usual, usual},
		{"started for its stream, the operator has chosen", "400", []string{"GOMAXPROCS=3"}, 3, 3},
	} {
		t.Run(test.name, func(t *testing.T) {
			cmd := exec.Command(executable)
			cmd.Env = append([]string{report + "=1", "GOGC=" + test.gogc}, test.more...)
			said, err := cmd.Output()
			require.NoError(t, err)
			assert.Equal(t, fmt.Sprintf("%d %d %d 1", test.begin, test.all, test.all), string(said))
		})
	}
}
