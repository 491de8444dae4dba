package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const allProto = `
syntax = "proto3";
package it;
import "google/protobuf/duration.proto";
import "google/protobuf/struct.proto";
import "google/protobuf/timestamp.proto";
import "google/protobuf/wrappers.proto";

enum Kind { NONE = 0; FIRST = 1; }

message Inner { int32 deep_n = 1; Inner next = 2; }

message All {
  string name = 1;
  int32 small = 2;
  int64 big = 3;
  uint64 ubig = 4;
  float ratio = 5;
  double nan = 6;
  bool on = 7;
  bytes raw = 8;
  Kind kind = 9;
  Kind odd_kind = 10;
  google.protobuf.Timestamp at = 11;
  google.protobuf.Duration took = 12;
  repeated string tags = 13;
  map<string, Inner> by_name = 14;
  google.protobuf.Int64Value wrapped = 15;
  google.protobuf.Struct free = 16;
  oneof choice { string a = 17; uint32 b = 18; }
  repeated Inner inners = 19;
  int32 unset = 20;
  optional int32 maybe = 21;
  google.protobuf.Value null_value = 22;
}
`

// TestProtobuf has the processor protobuf read messages, a part that is ours in
// place of upstream's, which is not under Apache-2.0: as JSON, and as a
// structure whose values keep their types.
func TestProtobuf(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "all.proto"), []byte(allProto), 0o644))
	p := startPenstock(t, "--runner", allRunners(t)+"-messaging")
	stream := func(id, processors string) {
		p.expect(t, 200, "POST", "/streams/"+id, fmt.Sprintf(`
input: {http_server: {path: /post}}
pipeline:
  processors:
    - try:
        - protobuf: {operator: from_json, message: it.All, import_paths: [%q]}
%s
    - catch: [mapping: 'root = error()']
output: {sync_response: {}}
`, dir, processors))
	}
	stream("json", fmt.Sprintf("        - protobuf: {operator: to_json, message: it.All, import_paths: [%q]}", dir))
	stream("named", fmt.Sprintf("        - protobuf: {operator: decode, use_proto_names: true, use_enum_numbers: true, message: it.All, import_paths: [%q]}", dir))
	stream("structure", fmt.Sprintf("        - protobuf: {operator: decode, message: it.All, import_paths: [%q]}\n", dir)+`
        - mapping: |
            root = this
            root.raw = this.raw.length()
            root.nan = this.nan.string()
            root.types = [this.at.type(), this.raw.type(), this.big.type(), this.nan.type()]
`)
	stream("garbage", fmt.Sprintf("        - mapping: 'root = \"\\xff\\xff\"'\n        - protobuf: {operator: decode, message: it.All, import_paths: [%q]}", dir))

	const posted = `{
		"name": "é", "small": -5, "big": "9007199254740993", "ubig": "18446744073709551615", "ratio": 0.5, "nan": "NaN",
		"on": true, "raw": "AAEC", "kind": "FIRST", "oddKind": 7, "at": "2024-05-06T07:08:09.500Z", "took": "1.500s",
		"tags": ["a", "b"], "byName": {"x": {"deepN": 1}}, "wrapped": "12", "free": {"a": [1, null, "z"]}, "b": 4,
		"inners": [{"deepN": 2, "next": {"deepN": 3}}, {}], "nullValue": null
	}`
	assert.JSONEq(t, posted, p.expect(t, 200, "POST", "/json/post", posted).Text())
	assert.JSONEq(t, `{
		"name": "é", "small": -5, "big": 9007199254740993, "ubig": 18446744073709551615, "ratio": 0.5, "nan": "NaN",
		"on": true, "raw": 3, "kind": "FIRST", "oddKind": "NONE", "at": "2024-05-06T07:08:09.5Z", "took": "1.500s",
		"tags": ["a", "b"], "byName": {"x": {"deepN": 1}}, "wrapped": 12, "free": {"a": [1, null, "z"]}, "b": 4,
		"inners": [{"deepN": 2, "next": {"deepN": 3}}, {}], "nullValue": null,
		"types": ["timestamp", "bytes", "number", "number"]
	}`, p.expect(t, 200, "POST", "/structure/post", posted).Text())
	assert.Contains(t, p.expect(t, 200, "POST", "/structure/post", posted).Text(), "9007199254740993", "more than a float holds")
	assert.JSONEq(t, `{"odd_kind": 7, "by_name": {"x": {"deep_n": 1}}}`,
		p.expect(t, 200, "POST", "/named/post", `{"odd_kind": 7, "by_name": {"x": {"deep_n": 1}}}`).Text())
	assert.Contains(t, p.expect(t, 200, "POST", "/garbage/post", `{}`).Text(), `decoding protobuf message "it.All"`)
}
