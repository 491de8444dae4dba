package catalogue

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"penstock/rpc"
)

// cache keeps what binaries have said, each in a file that is called as its
// mark. What cannot be kept or read is asked again.
type cache struct{ dir string }

// kept is the content of such a file.
type kept struct {
	// Format is cacheFormat of the version that wrote it.
	Format      int             `json:"format"`
	Description json.RawMessage `json:"description"`
}

// cacheFormat changes with what is asked of binaries or understood of it.
const cacheFormat = 1

const cacheSuffix = ".json"

func (c cache) path(mark string) string { return filepath.Join(c.dir, mark+cacheSuffix) }

// get reads a description; nil when there is none that is whole.
func (c cache) get(mark string) *rpc.Description {
	text, err := os.ReadFile(c.path(mark))
	if err != nil {
		return nil
	}
	var of kept
	if json.Unmarshal(text, &of) != nil || of.Format != cacheFormat {
		return nil
	}
	description, err := read(of.Description)
	if err != nil {
		return nil
	}
	return description
}

// put keeps a description. A file is there as a whole or not at all.
func (c cache) put(mark string, said []byte) (err error) {
	text, err := json.Marshal(kept{cacheFormat, said})
	if err != nil {
		return err
	}
	if err := os.MkdirAll(c.dir, 0o700); err != nil {
		return err
	}
	temporary, err := os.CreateTemp(c.dir, "new-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(temporary.Name())
		}
	}()
	_, err = temporary.Write(text)
	if err = errors.Join(err, temporary.Close()); err != nil {
		return err
	}
	return os.Rename(temporary.Name(), c.path(mark))
}

// retain removes the files of all other binaries.
func (c cache) retain(marks []string) {
	entries, _ := os.ReadDir(c.dir) // There is no such folder before the first.
	for _, entry := range entries {
		if !slices.Contains(marks, strings.TrimSuffix(entry.Name(), cacheSuffix)) {
			_ = os.Remove(filepath.Join(c.dir, entry.Name()))
		}
	}
}
