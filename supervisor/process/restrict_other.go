//go:build !linux

package process

import "errors"

// Restrictable says whether Restrict would be possible.
func (p *Process) Restrictable(files, fileSize uint64) error { return p.Restrict(files, fileSize) }

// MostFiles is 0: nobody's limit of files can be changed here.
func (p *Process) MostFiles() (uint64, error) { return 0, nil }

// Restrict is not possible: only Linux changes the limits of another process.
func (p *Process) Restrict(files, fileSize uint64) error {
	if files == 0 && fileSize == 0 {
		return nil
	}
	return errors.New("this system does not change the limits of a running process")
}
