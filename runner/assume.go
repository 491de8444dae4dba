package runner

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"

	"penstock/rpc"
	"penstock/runner/engine"
	"penstock/runner/lone"
)

// Rehearse implements rpc.Runner.
func (s *server) Rehearse(_ context.Context, policy rpc.ComponentPolicy) error {
	if s.named.Load() != nil || s.assumed.Load() {
		return rpc.ErrPrepared
	}
	return engine.Rehearse(policy)
}

// Assume implements rpc.Runner.
func (s *server) Assume(_ context.Context, a rpc.Assignment) error {
	if s.named.Load() != nil || s.assumed.Swap(true) {
		return rpc.ErrPrepared
	}
	if a.User != nil {
		if err := become(*a.User); err != nil {
			return err
		}
	}
	hurryCollector()
	if a.WorkDir != "" {
		if err := os.Chdir(a.WorkDir); err != nil {
			return fmt.Errorf("entering the working directory: %w", err)
		}
	}
	for name, value := range a.Environment {
		if err := os.Setenv(name, value); err != nil {
			return fmt.Errorf("setting the variable %s: %w", name, err)
		}
	}
	// What there is no limit for is as the operator has it, by GOMEMLIMIT or
	// GOMAXPROCS.
	if a.Limits.MemoryBytes > 0 {
		debug.SetMemoryLimit(a.Limits.MemoryBytes)
	}
	if a.Limits.CPUs > 0 {
		lone.End()
		s.processors.Fix(true)
		runtime.GOMAXPROCS(a.Limits.CPUs)
	}
	return nil
}
