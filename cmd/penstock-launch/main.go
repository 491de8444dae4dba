// Command penstock-launch starts one program in a sandbox and becomes it. It is
// run by penstock, never by hand: what to start it reads from file descriptor 3.
package main

import (
	"os"
	"runtime"

	"penstock/supervisor/sandbox"
)

// The kernel keeps privileges thread by thread: the plan is carried out by the
// thread that then executes the program, the process's first.
func init() { runtime.LockOSThread() }

func main() { os.Exit(sandbox.Main()) }
