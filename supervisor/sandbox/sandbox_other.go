//go:build !linux

package sandbox

import (
	"fmt"
	"os"
	"os/exec"
)

// Command returns the command that starts the plan with penstock-launch.
// Here it fails with ErrUnsupported.
func (p Plan) Command(string) (*exec.Cmd, func(), error) { return nil, nil, ErrUnsupported }

// CheckStrict says what a Strict plan needs and the system lacks.
func CheckStrict(string) error { return ErrUnsupported }

// CheckLock says what a locked plan needs and the system lacks.
func CheckLock(string) error { return ErrUnsupported }

// Inspect reads what is in force for a process.
func Inspect(int) (Layers, error) { return Layers{}, ErrUnsupported }

// Assign gives a program that was started for nobody yet the files of a user.
func Assign(int, Assignment) error { return ErrUnsupported }

// CheckAssigned says whether a program has become that user.
func CheckAssigned(int, uint32, uint32) error { return ErrUnsupported }

// HostFiles are none: there is no private root.
func HostFiles() []string { return nil }

// Supported tells whether this system has the sandbox at all.
func Supported() bool { return false }

// Main is the main function of penstock-launch.
func Main() int {
	fmt.Fprintf(os.Stderr, "penstock-launch: start: %v\n", ErrUnsupported)
	return FailureCode
}
