// Command guest is the first process of a small virtual machine in which tests
// run that need a kernel of their own: one whose only cgroup hierarchy is v2,
// with a disk whose io can be limited, and nobody else's processes on it. The
// same program, run anywhere but as process 1, packs a folder into the machine's
// initial file system. scripts/cgroup2-guest.sh builds the tests, packs them
// and boots the machine.
//
// The guest says its verdict on the console. The emulator's exit status would
// say nothing: it is 0 after a kernel panic, too.
package main
