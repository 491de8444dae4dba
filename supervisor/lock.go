package supervisor

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

const (
	// lockTimeout bounds the wait for the lock. A supervisor that was killed
	// may hold it for some milliseconds yet, through a child on its way to exec.
	lockTimeout = 250 * time.Millisecond
	lockPoll    = 5 * time.Millisecond
)

// lockDataDir takes a data folder for this process, for as long as the file
// it returns is open.
func lockDataDir(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, unusable(dir, err)
	}
	path := filepath.Join(dir, "lock")
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, unusable(dir, err)
	}
	if err := lock(file); err != nil {
		_ = file.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("data_dir %s belongs to another supervisor that is running: stop it or choose another data_dir", dir)
		}
		return nil, unusable(dir, fmt.Errorf("locking %s: %w", path, err))
	}
	return file, nil
}

func unusable(dir string, err error) error {
	return fmt.Errorf("data_dir %s cannot be used: %w: give the supervisor leave to write there or choose another data_dir", dir, err)
}

func lock(file *os.File) error {
	for deadline := time.Now().Add(lockTimeout); ; time.Sleep(lockPoll) {
		err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EWOULDBLOCK) || time.Now().After(deadline) {
			return err
		}
	}
}
