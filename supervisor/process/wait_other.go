//go:build !linux

package process

// reap takes the exit of the process and ends whatever it left behind.
// Without a pidfd there is no way to learn of an exit and still hold the
// process's id.
func (c *child) reap() {
	_ = c.cmd.Wait()
	c.reaping.Lock()
	defer c.reaping.Unlock()
	c.reaped = true
	c.killGroup()
}
