//go:build !linux

package cgroup

import (
	"fmt"
	"os"
)

// Hierarchy is this supervisor's subtree of the cgroups, which only Linux has.
type Hierarchy struct{}

// Leaf is the cgroup of one start of a runner, which only Linux has.
type Leaf struct{}

var errNotLinux = fmt.Errorf("%w: they are a part of Linux", ErrUnavailable)

// Open fails with ErrUnavailable.
func Open(Config) (*Hierarchy, error) { return nil, errNotLinux }

// Version is 0.
func (h *Hierarchy) Version() int { return 0 }

// Path is empty.
func (h *Hierarchy) Path() string { return "" }

// Memory fails with ErrUnavailable.
func (h *Hierarchy) Memory() (uint64, error) { return 0, errNotLinux }

// HasMemory is false.
func (h *Hierarchy) HasMemory() bool { return false }

// Check fails with ErrUnavailable.
func (h *Hierarchy) Check(Limits) error { return errNotLinux }

// Create fails with ErrUnavailable.
func (h *Hierarchy) Create(string, Limits) (*Leaf, error) { return nil, errNotLinux }

// Find fails with ErrUnavailable.
func (h *Hierarchy) Find(string) (*Leaf, error) { return nil, errNotLinux }

// Sweep fails with ErrUnavailable.
func (h *Hierarchy) Sweep(func(name string) bool) error { return errNotLinux }

// Close does nothing.
func (h *Hierarchy) Close() error { return nil }

// Name is empty.
func (l *Leaf) Name() string { return "" }

// Procs is nil.
func (l *Leaf) Procs() []string { return nil }

// Open fails with ErrUnavailable.
func (l *Leaf) Open() (*os.File, error) { return nil, errNotLinux }

// Set fails with ErrUnavailable.
func (l *Leaf) Set(_, _ Limits) error { return errNotLinux }

// Limits fails with ErrUnavailable.
func (l *Leaf) Limits() (Limits, error) { return Limits{}, errNotLinux }

// Usage fails with ErrUnavailable.
func (l *Leaf) Usage() (Usage, error) { return Usage{}, errNotLinux }

// OOMKills fails with ErrUnavailable.
func (l *Leaf) OOMKills() (uint64, error) { return 0, errNotLinux }

// Kill fails with ErrUnavailable.
func (l *Leaf) Kill() error { return errNotLinux }

// Remove fails with ErrUnavailable.
func (l *Leaf) Remove() error { return errNotLinux }
