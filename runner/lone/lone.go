package lone

import (
	"os"
	"runtime"
	"sync"
)

// AheadGOGC is rpc.AheadGOGC, by which a runner knows that it is started ahead.
const AheadGOGC = "50"

var (
	processors = begin()
	once       sync.Once
)

// begin leaves one processor, and tells how many there were.
func begin() int {
	if os.Getenv("GOGC") != AheadGOGC {
		return runtime.GOMAXPROCS(0)
	}
	return runtime.GOMAXPROCS(1)
}

// Processors is how many the process has once End was called, 1 or more.
func Processors() int { return processors }

// End gives the process what it was started with. Calls after the first do
// nothing.
func End() {
	once.Do(func() {
		switch {
		case runtime.GOMAXPROCS(0) == processors:
		case os.Getenv("GOMAXPROCS") == "":
			// As many as the cgroup gives, also later.
			runtime.SetDefaultGOMAXPROCS()
		default:
			runtime.GOMAXPROCS(processors)
		}
	})
}
