package main

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
)

// TestOnlyRegularFilesDeclare: what may never end is refused by its name, and does
// not keep the others from being read.
func TestOnlyRegularFilesDeclare(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	require.NoError(t, syscall.Mkfifo(path("pipe.yaml"), 0o600))
	require.NoError(t, os.Symlink("/dev/zero", path("device.yaml")))
	require.NoError(t, os.WriteFile(path("real"), []byte("input: {stdin: {}}\n"), 0o600))
	require.NoError(t, os.Symlink("real", path("link.yaml")))
	require.NoError(t, os.WriteFile(path("long.yaml"), nil, 0o600))
	require.NoError(t, os.Truncate(path("long.yaml"), longestFile+1))
	for name, from := range map[string]source{
		"streams": {args: []string{dir}}, "resources": {resources: []string{path("*.yaml")}}, "templates": {templates: []string{path("*.yaml")}},
	} {
		t.Run(name, func(t *testing.T) {
			var found []string
			var err error
			read := make(chan struct{})
			go func() {
				defer close(read)
				declared, failures := from.read(zap.NewNop())
				for _, file := range declared.Streams {
					found = append(found, file.ID)
				}
				for _, file := range declared.Templates {
					found = append(found, filepath.Base(file.Path))
				}
				err = joined(failures)
			}()
			select {
			case <-read:
			case <-time.After(20 * time.Second):
				t.Fatal("it reads still")
			}
			assert.ErrorContains(t, err, path("pipe.yaml")+" is a pipe and no regular file: ")
			assert.ErrorContains(t, err, path("device.yaml")+" is a device and no regular file: ")
			assert.ErrorContains(t, err, path("long.yaml")+" is longer than 32 MiB")
			switch name {
			case "streams":
				assert.Equal(t, []string{"link"}, found)
			case "templates":
				assert.Equal(t, []string{"link.yaml"}, found)
			}
		})
	}
}
