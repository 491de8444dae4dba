package supervisor

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestEnterable(t *testing.T) {
	dir := t.TempDir()
	inner := filepath.Join(dir, "home", "data")
	require.NoError(t, os.MkdirAll(inner, 0o700))
	assert.NoError(t, enterable(filepath.Join(inner, "not", "there")))
	if os.Geteuid() != 0 {
		return
	}
	home := filepath.Join(dir, "home")
	require.NoError(t, os.Chown(home, 65534, 65534))
	assert.EqualError(t, enterable(filepath.Join(inner, "x")), "streams of root without capabilities cannot enter "+home+" (mode -rwx------ of user 65534), which "+
		filepath.Join(inner, "x")+" is in: choose another place, `chmod o+x "+home+"`, or --isolation none")
	require.NoError(t, os.Chmod(home, 0o701))
	assert.NoError(t, enterable(filepath.Join(inner, "x")))
}
