package integration

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestDurableFiles: a file is put into force when it is new or has changed.
// Until then what the API has made of its stream stands.
func TestDurableFiles(t *testing.T) {
	t.Parallel()
	for how := range ends(&restartable{}) {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			r := newRestartable(t)
			dir := t.TempDir()
			write := func(id, tag string) {
				t.Helper()
				require.NoError(t, os.WriteFile(filepath.Join(dir, id+".yaml"), []byte(echo(tag)), 0o600))
			}
			remove := func(id string) {
				t.Helper()
				require.NoError(t, os.Remove(filepath.Join(dir, id+".yaml")))
			}
			again := func() {
				t.Helper()
				ends(r)[how](t)
				r.start(t, dir)
			}
			origin := func(id string) string {
				t.Helper()
				var status struct{ Origin string }
				r.getJSON(t, "/streams/"+id+"/status", &status)
				return status.Origin
			}

			for _, id := range []string{"plain", "changed", "deleted", "dropped", "kept"} {
				write(id, "file")
			}
			r.start(t, dir)
			for _, id := range []string{"plain", "changed", "deleted", "dropped", "kept"} {
				awaitEcho(t, r.client, "/"+id+"/post", "file")
				assert.Equal(t, "file", origin(id))
			}
			r.expect(t, 200, "PUT", "/streams/changed", echo("api"))
			assert.Equal(t, "api", origin("changed"))
			r.expect(t, 200, "DELETE", "/streams/deleted", "")
			r.expect(t, 200, "PUT", "/streams/kept", echo("api"))
			r.expect(t, 200, "POST", "/streams/created", echo("api"))
			write("created", "file")
			remove("dropped")
			remove("kept")

			again()
			awaitEcho(t, r.client, "/plain/post", "file")
			awaitEcho(t, r.client, "/changed/post", "api")
			r.expect(t, 404, "GET", "/streams/deleted", "")
			r.expect(t, 404, "GET", "/streams/dropped", "")
			awaitEcho(t, r.client, "/kept/post", "api")
			awaitEcho(t, r.client, "/created/post", "api")
			assert.Equal(t, "api", origin("created"))
			assert.Contains(t, readText(t, r.LogFile), "the file is ignored")
			assert.Len(t, r.runners(), 4)

			// A file that has changed is in force again, but for one that never was.
			for _, id := range []string{"plain", "changed", "deleted", "created"} {
				write(id, "newer")
			}
			again()
			for _, id := range []string{"plain", "changed", "deleted"} {
				awaitEcho(t, r.client, "/"+id+"/post", "newer")
				assert.Equal(t, "file", origin(id))
			}
			awaitEcho(t, r.client, "/created/post", "api")
			awaitEcho(t, r.client, "/kept/post", "api")

			// What only the API has is not touched by the end of all files.
			r.expect(t, 200, "DELETE", "/streams/created", "")
			again()
			awaitEcho(t, r.client, "/created/post", "newer")
			for _, id := range []string{"plain", "changed", "deleted", "created"} {
				remove(id)
			}
			again()
			list, err := listStreams(t.Context(), r.client)
			require.NoError(t, err)
			assert.Len(t, list, 1)
			awaitEcho(t, r.client, "/kept/post", "api")
			assert.Len(t, r.runners(), 1)
		})
	}
}
