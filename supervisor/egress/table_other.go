//go:build !linux

package egress

import "errors"

var errUnsupported = errors.New("egress rules need nftables, which only Linux has: run without them (isolation none or standard)")

// Check says that this system has no nftables.
func Check() error { return errUnsupported }

// Table stands for the rules of one supervisor; there are none on this system.
type Table struct{}

// Open returns a table.
func Open(string) *Table { return &Table{} }

// Apply refuses: nothing here could enforce the policy.
func (*Table) Apply(Policy) error { return errUnsupported }

// Verify refuses as Apply does.
func (*Table) Verify(Policy) error { return errUnsupported }

// Remove returns nil: there is nothing to remove.
func (*Table) Remove() error { return nil }
