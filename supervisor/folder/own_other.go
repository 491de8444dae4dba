//go:build !linux

package folder

import (
	"errors"
	"fmt"
)

// Own gives a folder and everything in it to a user and a group. Only Linux
// has what it takes to do that without being misled.
func Own(dir string, uid, gid uint32) error {
	return fmt.Errorf("giving %s to user %d, group %d: only on Linux: %w", dir, uid, gid, errors.ErrUnsupported)
}
