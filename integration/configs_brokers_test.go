package integration

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"io"
	"maps"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Names of servers as the configs have them.
const (
	configDatabase = `driver: postgres, dsn: 'postgres://localhost:5432/postgres?sslmode=disable'`
	configS3       = `bucket: things, region: eu-west-1, endpoint: 'http://localhost:9000', force_path_style_urls: true, credentials: {id: one, secret: two}`
)

// brokerCases are the configs that run with servers of somebody else.
var brokerCases = map[string]configCase{
	"kafka_router": {
		By:   `{kafka_franz: {seed_brokers: ['localhost:9092'], topic: events}}`,
		Feed: []string{`{"kind":"click","user":1}`, `{"kind":"order","user":1}`},
		Seen: `{kafka_franz: {seed_brokers: ['localhost:9092'], topics: [events.click, events.order], consumer_group: seen}}
pipeline: {processors: [{mapping: 'root = this.assign({"topic": @kafka_topic, "key": @kafka_key})'}]}`,
		Got: map[string][]string{"/seen": {`{"key":"1","kind":"click","topic":"events.click","user":1}`, `{"key":"1","kind":"order","topic":"events.order","user":1}`}},
	},
	"kafka_sarama": {
		Feed:   []string{`{"sensor":"a","n":1}`, `{"sensor":"b","n":2}`, `{"sensor":"a","n":3}`},
		AtOnce: true,
		Seen:   `{kafka_franz: {seed_brokers: ['localhost:9092'], topics: [measures], consumer_group: seen}}`,
		Got:    map[string][]string{"/seen": {`{"sensor":"a","n":1}`, `{"sensor":"b","n":2}`, `{"sensor":"a","n":3}`}},
	},
	"redis_enrichment": {
		Setup: `{redis: {url: 'redis://localhost:6379', command: hset, args_mapping: 'root = ["user:7", "name", "Ada", "town", "London"]'}}`,
		Feed:  []string{`{"user":7}`},
		Told:  []string{`{"user":{"name":"Ada","town":"London"}}`},
	},
	"redis_cache": {
		Feed: []string{`{"id":"a"}`, `{"id":"b"}`, `{"id":"a"}`},
		Got:  map[string][]string{"/events": {`{"id":"a"}`, `{"id":"b"}`}},
		Ask:  `{redis: {url: 'redis://localhost:6379', command: exists, args_mapping: 'root = ["seen:a", "seen:b"]'}}`, Answer: "2",
	},
	"redis_list": {
		Feed: []string{`sweep`, `mop`},
		Seen: `{redis_list: {url: 'redis://localhost:6379', key: jobs}}`,
		Got:  map[string][]string{"/seen": {`sweep`, `mop`}},
	},
	"redis_pubsub": {
		Feed: []string{`{"topic":"tea"}`, `{"topic":"cake"}`},
		Seen: `{redis_pubsub: {url: 'redis://localhost:6379', channels: ['news.*'], use_patterns: true}}`,
		Got:  map[string][]string{"/seen": {`{"topic":"tea"}`, `{"topic":"cake"}`}},
	},
	"redis_rate_limit": {Check: checkPace},
	"nats_queue": {
		By:   `{nats: {urls: ['nats://localhost:4222'], subject: 'jobs.${! json("kind") }'}}`,
		Feed: []string{`{"kind":"sweep"}`, `{"kind":"mop"}`},
		Got:  map[string][]string{"/jobs": {`{"kind":"sweep","subject":"jobs.sweep"}`, `{"kind":"mop","subject":"jobs.mop"}`}},
	},
	"nats_kv": {
		Setup: `{mapping: 'root = {"name": "KV_devices", "subjects": ["$KV.devices.>"], "max_msgs_per_subject": 1, "discard": "new", "allow_rollup_hdrs": true, "deny_delete": true, "storage": "memory"}'},
{nats_request_reply: {urls: ['nats://localhost:4222'], subject: $JS.API.STREAM.CREATE.KV_devices, timeout: 10s}}`,
		Feed: []string{`{"device":"lamp","on":true}`, `{"device":"lamp","on":false}`},
		Ask:  `{nats_kv: {urls: ['nats://localhost:4222'], bucket: devices, operation: get, key: lamp}}`, Answer: `{"device":"lamp","on":false}`,
	},
	"nats_request": {
		Feed: []string{`{"ask":"$JS.API.STREAM.NAMES"}`},
		Told: []string{`{"type":"io.nats.jetstream.api.v1.stream_names_response","total":0,"offset":0,"limit":1024,"streams":null}`},
	},
	"mqtt_to_sql": {
		By:   `{mqtt: {urls: ['tcp://localhost:1883'], topic: sensors/kitchen/temperature, client_id: feed, qos: 1}}`,
		Feed: []string{"20.5", "21"},
		Ask:  `{sql_raw: {` + configDatabase + `, query: 'SELECT sensor, celsius FROM temperatures ORDER BY celsius'}}`, Answer: `[{"celsius":20.5,"sensor":"kitchen"},{"celsius":21,"sensor":"kitchen"}]`,
	},
	"sql_jobs": {
		Got: map[string][]string{"/jobs": {`{"id":1,"what":"sweep"}`, `{"id":2,"what":"mop"}`, `{"id":3,"what":"dust"}`}},
		Ask: `{sql_raw: {` + configDatabase + `, query: SELECT id FROM jobs WHERE done ORDER BY id}}`, Answer: `[{"id":1},{"id":2},{"id":3}]`,
	},
	"sql_lookup": {
		Feed: []string{`{"product":"tea"}`, `{"product":"cake"}`},
		Told: []string{`{"cents":250,"product":"tea"}`, `{"cents":400,"product":"cake"}`},
	},
	"amqp_topics": {
		By:   `{amqp_0_9: {urls: ['amqp://guest:guest@localhost:5672/'], exchange: amq.topic, key: '${! json("route") }'}}`,
		Feed: []string{`{"route":"orders.south.tea"}`, `{"route":"orders.north.tea"}`},
		Got:  map[string][]string{"/orders": {`{"key":"orders.north.tea","route":"orders.north.tea"}`}},
	},
	"s3_archive": {
		Feed:   []string{`{"day":"mon","n":1}`, `{"day":"mon","n":2}`, `{"day":"mon","n":3}`, `{"day":"mon","n":4}`},
		AtOnce: true,
		Then:   `{aws_s3: {` + configS3 + `, prefix: events/mon/, scanner: {decompress: {algorithm: gzip, into: {lines: {}}}}}}`,
		Got:    map[string][]string{"/seen": {`{"day":"mon","n":1}`, `{"day":"mon","n":2}`, `{"day":"mon","n":3}`, `{"day":"mon","n":4}`}},
	},
}

func init() { maps.Copy(configCases, brokerCases) }

// untar is the files of a gzipped tar archive.
func untar(t *testing.T, path string) map[string]string {
	t.Helper()
	file, err := os.Open(path)
	require.NoError(t, err)
	defer file.Close()
	plain, err := gzip.NewReader(file)
	require.NoError(t, err)
	files := map[string]string{}
	for archive := tar.NewReader(plain); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		require.NoError(t, err)
		content, err := io.ReadAll(archive)
		assert.NoError(t, err)
		files[header.Name] = string(content)
	}
}
