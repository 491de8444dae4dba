package folder

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
)

// batch is how many entries of a folder are read at once.
const batch = 1024

// Names lists the regular files of dir whose names match, sorted. It looks at
// no more than limit entries of whatever kind and keeps no more names than
// match: with a larger folder all is false, and names may be missing. The error
// wraps fs.ErrNotExist when there is no such folder.
func Names(dir string, limit int, match func(name string) bool) (names []string, all bool, err error) {
	top, err := openTop(dir)
	if err != nil {
		return nil, false, err
	}
	file := os.NewFile(uintptr(top.fd), dir)
	defer file.Close()
	for seen := 0; ; {
		// One more than the limit tells whether there are more.
		entries, err := file.ReadDir(min(batch, limit+1-seen))
		for _, entry := range entries {
			if seen++; seen > limit {
				slices.Sort(names)
				return names, false, nil
			}
			if match(entry.Name()) && entry.Type().IsRegular() {
				names = append(names, entry.Name())
			}
		}
		if errors.Is(err, io.EOF) {
			slices.Sort(names)
			return names, true, nil
		}
		if err != nil {
			return nil, false, fmt.Errorf("listing a stream's folder: %w", err)
		}
	}
}
