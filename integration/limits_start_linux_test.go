package integration

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// TestLimitsOfReadsAtStart: a stream's limit of reads is for its data. Its
// runner's program may have to come from the disk, too, as after a boot: that
// does not take as long as the limit would make it.
func TestLimitsOfReadsAtStart(t *testing.T) {
	needRoot(t)
	t.Parallel()
	bin, err := product()
	require.NoError(t, err)
	runner := filepath.Join(t.TempDir(), "penstock-runner")
	stageBinary(t, runner, bin.Runner)
	replaceBinary(t, runner)
	p := startPenstock(t, "--runner", runner)
	file, err := os.Open(runner)
	require.NoError(t, err)
	defer file.Close()
	for _, limit := range []string{"read_bps: 64KiB", "read_iops: 5"} {
		// What is not on the disk yet would stay in the cache.
		require.NoError(t, file.Sync())
		require.NoError(t, unix.Fadvise(int(file.Fd()), 0, 0, unix.FADV_DONTNEED))
		p.expect(t, 200, "POST", "/streams/a", limited("io: {"+limit+"}", echo("a")))
		assertEnforced(t, p.server, "a")
		awaitEcho(t, p.client, "/a/post", "a")
		assert.Less(t, assertCounted(t, p.client, "a")["io.read_bytes"], float64(mib), limit)
		p.expect(t, 200, "DELETE", "/streams/a", "")
	}
}
