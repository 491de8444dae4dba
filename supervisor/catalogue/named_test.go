package catalogue

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"gopkg.in/yaml.v3"

	"penstock/rpc"
)

func TestDraft(t *testing.T) {
	f := fields{}
	for _, p := range []string{"/tmp/core.json", "/tmp/connect.json"} {
		var d rpc.Description
		b, err := os.ReadFile(p)
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(b, &d))
		f.learn(d.Components)
	}
	var config any
	require.NoError(t, yaml.Unmarshal([]byte(`
input:
  broker:
    inputs:
      - kafka: {addresses: [x]}
        processors: [{mapping: ''}]
      - label: b
        redis_streams: {}
      - fallback_nobody: {}
buffer: {memory: {}}
pipeline:
  processors:
    - switch:
        - check: 'true'
          processors: [{cache: {resource: x}}, {redis: {}}]
    - try: [{dedupe: {cache: y}}]
    - workflow: {branches: {a: {processors: [{http: {}}]}}}
    - parallel: {processors: [{sql_raw: {}}]}
    - resource: foo
output:
  switch:
    cases:
      - output: {retry: {output: {aws_s3: {}}}}
      - output: {type: drop}
cache_resources:
  - label: x
    multilevel: [a, b]
  - label: y
    ttlru: {}
`), &config))
	for _, r := range f.named(config) {
		t.Log(r)
	}
	assert.True(t, true)
}
