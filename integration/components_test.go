package integration

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// upstreamModule is where most components come from. Its files are under more
// than one licence.
const upstreamModule = "github.com/redpanda-data/connect/v4"

// What a config names, and the core or the messaging runner has, the larger
// ones have too: a stream may move to a larger one at any time.
func TestRunnersContainTheSmallerOnes(t *testing.T) {
	t.Parallel()
	bin, err := product()
	require.NoError(t, err)
	core, messaging, connect := componentsOf(t, bin.Runner), componentsOf(t, allRunners(t)+"-messaging"), componentsOf(t, allRunners(t)+"-connect")
	t.Logf("components: core %d, messaging %d, connect %d", len(core), len(messaging), len(connect))
	assert.Subset(t, messaging, core)
	assert.Subset(t, connect, messaging)
	assert.Subset(t, core, []string{"input generate", "input http_server", "processor mapping", "output file", "cache memory", "rate_limit local"})
	assert.NotContains(t, core, "input kafka_franz")
	assert.Subset(t, messaging, []string{
		"input kafka_franz", "output kafka_franz", "input redpanda", "input redis_streams", "cache redis", "input nats_jetstream",
		"input amqp_0_9", "input amqp_1", "input mqtt", "output sql_insert", "input sql_select", "processor sql_raw", "output aws_s3",
		"input aws_sqs", "output elasticsearch_v8", "cache memcached", "metrics prometheus", "metrics statsd", "processor schema_registry_decode",
	})
	assert.NotContains(t, messaging, "input mongodb")
	assert.Subset(t, connect, []string{"input mongodb", "output gcp_pubsub", "input azure_blob_storage", "input pulsar", "processor javascript", "processor openai_chat_completion"})
	// What upstream sells, or has written into files of that licence.
	for _, paid := range []string{"input aws_dynamodb_cdc", "input postgres_cdc", "input pg_stream", "input mysql_cdc", "input otlp_grpc", "output snowflake_streaming", "processor a2a_message"} {
		assert.NotContains(t, connect, paid)
	}
}

// componentsOf asks a runner for what it carries, as "type name".
func componentsOf(t *testing.T, runner string) []string {
	t.Helper()
	var described struct {
		Components []struct{ Type, Name string }
	}
	out, err := exec.CommandContext(t.Context(), runner, "--describe").Output()
	require.NoError(t, err, runner)
	require.NoError(t, json.Unmarshal(out, &described), runner)
	var names []string
	for _, c := range described.Components {
		names = append(names, c.Type+" "+c.Name)
	}
	return names
}

// Every file of upstream's that a runner is built from says by its own header
// that it is under Apache-2.0, or is ours. Some of upstream's own files show
// that the check finds what does not.
func TestRunnersHoldNothingUnderTheEnterpriseLicence(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"messaging", "connect"} {
		runIn(t, repo, nil, "go", "-C", "tools", "run", "./connect", "..")
		files := upstreamFiles(t, filepath.Join(repo, "cmd", "penstock-runner-"+name))
		require.Greater(t, len(files), 100, name)
		var bad []string
		for _, file := range files {
			if why := notApache(t, file); why != "" {
				bad = append(bad, file+": "+why)
			}
		}
		t.Logf("penstock-runner-%s: %d files of %s", name, len(files), upstreamModule)
		assert.Empty(t, bad, "penstock-runner-%s holds what is not under Apache-2.0", name)
	}
	dir := strings.TrimSpace(runIn(t, "chaos", nil, "go", "list", "-m", "-f", "{{.Dir}}", upstreamModule))
	for file, want := range map[string]string{
		"internal/impl/kafka/franz_client.go":            "",
		"internal/serviceaccount/oauth2.go":              "names another licence",
		"internal/impl/otlp/input.go":                    "names another licence",
		"internal/impl/protobuf/common/decode_common.go": "names another licence",
		"public/components/timeplus/package.go":          "says no licence, and is not ours",
	} {
		assert.Equal(t, want, notApache(t, filepath.Join(dir, file)), "upstream's %s", file)
	}
}

// upstreamFiles lists the files of upstream's module that the main package in
// dir is built from.
func upstreamFiles(t *testing.T, dir string) []string {
	t.Helper()
	out := runIn(t, dir, []string{"CGO_ENABLED=0", "GOOS=linux"}, "go", "list", "-deps", "-json=Dir,GoFiles,OtherFiles,Module", ".")
	var files []string
	for dec := json.NewDecoder(strings.NewReader(out)); ; {
		var p struct {
			Dir                 string
			GoFiles, OtherFiles []string
			Module              *struct{ Path string }
		}
		err := dec.Decode(&p)
		if errors.Is(err, io.EOF) {
			return files
		}
		require.NoError(t, err)
		if p.Module == nil || p.Module.Path != upstreamModule {
			continue
		}
		assert.Empty(t, p.OtherFiles, "%s: what is not Go has no header", p.Dir)
		for _, name := range p.GoFiles {
			files = append(files, filepath.Join(p.Dir, name))
		}
	}
}

// notApache returns why a Go file may not be in our runners, or nothing.
func notApache(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	header, _, ok := bytes.Cut(append([]byte("\n"), text...), []byte("\npackage "))
	switch {
	case regexp.MustCompile(`Redpanda Community License|Business Source License|licenses/(rcl|BSL)\.md`).Match(text):
		return "names another licence"
	case ok && bytes.Contains(header, []byte("Licensed under the Apache License, Version 2.0")):
		return ""
	}
	_, below, _ := strings.Cut(filepath.ToSlash(file), "/bin/connect/")
	own, err := os.ReadFile(filepath.Join(repo, "tools", "connect", "_own", filepath.FromSlash(below)))
	if below == "" || err != nil || !bytes.Equal(own, text) {
		return "says no licence, and is not ours"
	}
	return ""
}

// The connect runner imports what upstream's community package does, but for
// the packages that are wholly under another licence.
func TestConnectRunnerHasTheCommunitySet(t *testing.T) {
	t.Parallel()
	runIn(t, repo, nil, "go", "-C", "tools", "run", "./connect", "..")
	imports := func(file string) []string {
		found := regexp.MustCompile(`(?m)^\t_ "`+upstreamModule+`/public/components/(\S+)"$`).FindAllStringSubmatch(readRepo(t, file), -1)
		names := make([]string, len(found))
		for i, match := range found {
			names[i] = match[1]
		}
		slices.Sort(names)
		return names
	}
	want := imports("bin/connect/public/components/community/package.go")
	require.Greater(t, len(want), 50)
	without := []string{"otlp"}
	for _, name := range without {
		at, found := slices.BinarySearch(want, name)
		require.True(t, found, name)
		want = slices.Delete(want, at, at+1)
		left, err := filepath.Glob(filepath.Join(repo, "bin/connect/internal/impl", name, "*.go"))
		require.NoError(t, err)
		assert.Empty(t, left, "%s has files under Apache-2.0 by now", name)
	}
	assert.Equal(t, want, imports("cmd/penstock-runner-connect/components.go"))
	have := imports("cmd/penstock-runner-messaging/components.go")
	assert.Subset(t, append(want, "sql/base"), have, "messaging imports what connect does not")
}
