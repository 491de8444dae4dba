// Package sandbox starts a program with less than its parent has: in cgroups,
// with resource limits, without capabilities and forbidden system calls, and,
// where it is strict, as a user of its own in a root of its own.
//
// Most of this cannot be done from outside, and not by Go code between fork and
// exec either. So a Plan is given to a small binary of its own, penstock-launch,
// which carries it out upon itself and then becomes the program: the process id
// stays the same, and no privileged process is left behind.
//
//	supervisor ── Plan.Command ──▶ penstock-launch (Main)
//	                                 read the plan from file descriptor 3
//	                                 join the cgroups
//	                       strict:   mount and enter a private root
//	                         lock:   capabilities, user, no_new_privs
//	                       strict:   Landlock
//	                                 resource limits
//	                         lock:   inherited files, system calls
//	                                 execve ──▶ program
//
// The order is what makes it work: each step needs rights that a later one
// takes away. Nothing is skipped: a step that fails ends the launch with
// FailureCode and one line on standard error.
//
// A start costs a launch, so this package stays small: it imports nothing of
// ours and no library that does work when it is loaded. The packages
// supervisor, supervisor/process and cmd/penstock-launch may import it.
package sandbox
