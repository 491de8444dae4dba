package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// serviceScenarios: what the server says about itself, and how it is started.
func serviceScenarios() []scenario {
	return []scenario{
		{name: "service", steps: []step{
			ask("ping", "GET /ping", "", 200, sameText),
			ask("ping by any verb", "POST /ping", "", 200, sameText),
			ask("ping by HEAD", "HEAD /ping", "", 200, nothing),
			ask("version", "GET /version", "", 200, versionOfBoth),
			ask("endpoints", "GET /endpoints", "", 200, sameEndpoints),
			ask("ready with no stream", "GET /ready", "", 200, sameText),
			ask("no streams", "GET /streams", "", 200, sameJSON),
			ask("unknown path", "GET /nowhere", "", 404, sameText),
			ask("a slash too many", "GET /streams/", "", 404, sameText),
			ask("ping below the root path", "GET /benthos/ping", "", 200, sameText),
			ask("streams below the root path", "GET /benthos/streams", "", 200, sameJSON),
			ask("create below the root path", "POST /benthos/streams/a", idleYAML, 200, nothing),
			ask("read what was created there", "GET /streams/a", "", 200, sameStatus),
			ask("stream endpoint below the root path", "GET /benthos/a/ready", "", 200, sameJSON).soon(),
		}},
		{
			name:  "streams of the command line",
			args:  streamFiles,
			steps: fileSteps(),
		},
		{
			name: "endpoints without prefix",
			args: func(*testing.T) []string { return []string{"--prefix-stream-endpoints=false"} },
			steps: []step{
				ask("create", "POST /streams/a", `
input:
  http_server:
    path: /in
output:
  sync_response: {}
`, 200, nothing),
				ask("at its own path", "POST /in", "hello", 200, sameWire).soon(),
				ask("not below the id", "POST /a/in", "hello", 404, sameText),
				ask("status", "GET /streams/a", "", 200, sameStatus),
				ask("ready is the stream's", "GET /ready", "", 200,
					sameJSON).soon().except("unprefixed-ready", 200, has("OK")),
			},
		},
	}
}

// sameEndpoints: Penstock lists all that upstream does, and its own besides.
var sameEndpoints = comparison{key: "endpoints-map", compare: func(theirs, ours answer) error {
	a, b, err := bothJSON(theirs, ours)
	if err != nil {
		return err
	}
	left, right := a.(map[string]any), b.(map[string]any)
	for path := range left {
		if text, _ := right[path].(string); text == "" {
			return fmt.Errorf("penstock has no description of %s", path)
		}
	}
	if ours.MediaType() != "application/json" {
		return fmt.Errorf("the media type is %q", ours.MediaType())
	}
	return nil
}}

// streamFiles writes a folder of streams, JSON and YAML, one of them in a
// folder below, and a resource that one of them uses.
func streamFiles(t *testing.T) []string {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"flows/idle.yaml":       idleYAML,
		"flows/deeper/more.yml": idleYAML,
		"flows/plain.json":      idleJSON,
		"flows/notes.txt":       "not a stream",
		"flows/user.yaml":       "input:\n  http_server: {}\npipeline:\n  processors:\n    - resource: upper\noutput:\n  sync_response: {}\n",
		"alone.yaml":            echoYAML,
		"resources/upper.yaml":  "processor_resources:\n  - label: upper\n    mapping: root = content().uppercase()\n",
	} {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	}
	return []string{
		"-r", filepath.Join(dir, "resources", "*.yaml"),
		filepath.Join(dir, "flows"), filepath.Join(dir, "alone.yaml"),
	}
}

func fileSteps() []step {
	return []step{
		ask("the same ids", "GET /streams", "", 200, sameStreams),
		ask("ready", "GET /ready", "", 200, sameText).soon(),
		ask("file alone", "GET /streams/alone", "", 200, sameStatus),
		ask("file in a folder", "GET /streams/idle", "", 200, sameStatus),
		ask("file in a folder below", "GET /streams/deeper_more", "", 200, sameStatus),
		ask("resource of a file", "POST /user/post", "hello", 200, sameWire),
		ask("delete one of a file", "DELETE /streams/idle", "", 200, nothing),
		ask("it is gone", "GET /streams", "", 200, sameStreams),
	}
}
