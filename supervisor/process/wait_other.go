//go:build !linux

package process

import "os"

// openExits has nothing to open: there is no pidfd.
func openExits(int) *os.File { return nil }

// reap takes the exit of the process and ends whatever it left behind.
// Without a pidfd there is no way to learn of an exit and still hold the
// process's id. It reports false when the process was released meanwhile.
func (c *child) reap() bool {
	_ = c.cmd.Wait()
	c.reaping.Lock()
	defer c.reaping.Unlock()
	c.reaped = true
	if c.isReleased() {
		return false
	}
	c.killGroup()
	return true
}
