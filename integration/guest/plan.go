package main

import "time"

const (
	programs = "/guest"   // the folder of what is run
	modules  = "/modules" // that of the kernel modules to load
	disk     = "/disk"    // where the disk is mounted
)

// onlyEnv, from the kernel's command line, narrows the tests of every program.
const onlyEnv = "PENSTOCK_GUEST_RUN"

// verdict begins the last line the guest prints: "PENSTOCK-GUEST: PASS", or
// "PENSTOCK-GUEST: FAIL" and how many programs failed. Without such a line the
// guest has failed as well.
const verdict = "PENSTOCK-GUEST:"

// limit is the time a program may take. It is generous: an emulated processor
// that shares the real one with others is slow.
const limit = 3 * time.Minute

// plan is what is run, one after another: a compiled test, and which of its
// tests, as a regular expression. Of the tests of the whole server only those
// are run that depend on the kernel most: all of it takes two minutes at most.
var plan = []struct{ Program, Tests string }{
	{"cgroup.test", "."},
	{"integration.test", "^TestLimitsKernel"},
}
