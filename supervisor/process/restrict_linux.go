package process

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Restrictable says whether Restrict would be possible.
func (p *Process) Restrictable(files, fileSize uint64) error {
	for resource, limit := range map[int]uint64{unix.RLIMIT_NOFILE: files, unix.RLIMIT_FSIZE: fileSize} {
		var old unix.Rlimit
		if err := unix.Prlimit(p.PID(), resource, nil, &old); err != nil {
			return fmt.Errorf("reading the limits of process %d: %w", p.PID(), err)
		}
		if limit > old.Max {
			return fmt.Errorf("process %d cannot be given a limit of %d above its hard limit of %d", p.PID(), limit, old.Max)
		}
	}
	return nil
}

// MostFiles is how many files the process may open at most, which cannot be
// raised.
func (p *Process) MostFiles() (uint64, error) {
	var limit unix.Rlimit
	if err := unix.Prlimit(p.PID(), unix.RLIMIT_NOFILE, nil, &limit); err != nil {
		return 0, fmt.Errorf("reading the limits of process %d: %w", p.PID(), err)
	}
	return limit.Max, nil
}

// Restrict changes how many files the process may open and how large one may
// become, in bytes; 0 leaves either as it is. Nothing can be raised above what
// the process was started with, unless the supervisor may do so.
func (p *Process) Restrict(files, fileSize uint64) error {
	if err := p.Restrictable(files, fileSize); err != nil {
		return err
	}
	for resource, limit := range map[int]uint64{unix.RLIMIT_NOFILE: files, unix.RLIMIT_FSIZE: fileSize} {
		if limit == 0 {
			continue
		}
		if err := unix.Prlimit(p.PID(), resource, &unix.Rlimit{Cur: limit, Max: limit}, nil); err != nil {
			return fmt.Errorf("changing the limits of process %d: %w", p.PID(), err)
		}
	}
	return nil
}
