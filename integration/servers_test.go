package integration

import "testing"

// transits are the servers, and how a stream speaks to each: always in a way
// that has both sides acknowledge.
var transits = map[string]transit{
	"redis_streams": {
		Start: startRedis, Runner: "messaging",
		Into: `redis_streams: {url: '{{server}}', stream: things, body_key: body, max_in_flight: 16}`,
		From: `redis_streams: {url: '{{server}}', streams: [things], body_key: body, consumer_group: penstock, client_id: one, limit: 20, commit_period: 100ms, timeout: 500ms}`,
	},
	"nats_jetstream": {
		Start: startNATS, Runner: "messaging",
		Into: `nats_jetstream: {urls: ['{{server}}'], subject: things.in, max_in_flight: 16}`,
		From: `nats_jetstream: {urls: ['{{server}}'], stream: THINGS, subject: things.in, create_stream: true, durable: penstock, ack_wait: 3s, max_ack_pending: 64}`,
	},
	// The input acknowledges what it was given at once, so that what its runner
	// has in hand is lost with it; one that ends in order delivers that, but for
	// what it was just about to take.
	"mqtt":           mqttTransit(24, false),
	"mqtt_restarted": mqttTransit(1, true),
	"amqp_0_9": {
		Start: startRabbitMQ, Runner: "messaging",
		Into: `
amqp_0_9:
  urls: ['{{server}}']
  exchange: amq.direct
  key: in
  persistent: true
  mandatory: true
  max_in_flight: 16`,
		From: `
amqp_0_9:
  urls: ['{{server}}']
  queue: things
  queue_declare: {enabled: true, durable: true}
  bindings_declare: [{exchange: amq.direct, key: in}]
  prefetch_count: 50`,
	},
	"sql": {
		Start: startPostgres, Runner: "messaging", Once: true,
		Into: `
sql_insert:
  driver: postgres
  dsn: '{{server}}'
  init_statement: CREATE TABLE IF NOT EXISTS things (id INT NOT NULL, body TEXT NOT NULL)
  table: things
  columns: [id, body]
  args_mapping: root = [this.id, content().string()]
  max_in_flight: 16`,
		From: `sql_select: {driver: postgres, dsn: '{{server}}', table: things, columns: [body], suffix: ORDER BY id}`,
		Map:  `root = this.body`,
	},
	"kafka_franz": {
		Start: startKafka, Runner: "messaging",
		Into: `kafka_franz: {seed_brokers: ['{{server}}'], topic: things, key: '${! json("id") }', max_in_flight: 16}`,
		From: `
kafka_franz:
  seed_brokers: ['{{server}}']
  topics: [things]
  consumer_group: penstock
  commit_period: 200ms
  session_timeout: 3s
  heartbeat_interval: 500ms`,
	},
	"aws_s3": {
		Start: startS3, Runner: "messaging", Once: true,
		Into: `
aws_s3:
  bucket: ` + bucket + `
  path: in/${! json("id") }.json
  region: eu-west-1
  endpoint: '{{server}}'
  force_path_style_urls: true
  credentials: {id: one, secret: two}
  max_in_flight: 16`,
		From: `
aws_s3:
  bucket: ` + bucket + `
  prefix: in/
  delete_objects: true
  scanner: {to_the_end: {}}
  region: eu-west-1
  endpoint: '{{server}}'
  force_path_style_urls: true
  credentials: {id: one, secret: two}`,
	},
}

// TestServers: messages go into real servers and out of them through streams
// whose runners are killed again and again, and none is lost.
func TestServers(t *testing.T) {
	t.Parallel()
	for name, e := range transits {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e.run(t, 4000)
		})
	}
}

func mqttTransit(inHand int, gently bool) transit {
	return transit{
		Start: startMosquitto, Runner: "messaging", InHand: inHand, Gently: gently,
		Into: `mqtt: {urls: ['{{server}}'], topic: things/in, client_id: fill, qos: 1, max_in_flight: 16}`,
		From: `mqtt: {urls: ['{{server}}'], topics: ['things/#'], client_id: empty, qos: 1, clean_session: false}`,
	}
}
