//go:build !linux

package runner

import (
	"errors"

	"penstock/rpc"
)

// canAssume says that a supervisor may start this runner ahead.
const canAssume = true

// giveUpRoot has nothing to do: only Linux has capabilities.
func giveUpRoot() error { return nil }

// become is not needed: only Linux has users for streams.
func become(rpc.User) error { return errors.ErrUnsupported }
