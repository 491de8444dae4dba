package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// walkthroughScenarios is upstream's guide "Streams via REST API", request by
// request. Its stream bar reads Kafka, which the core components lack; a
// generator stands in for it, so that there is something to delete.
func walkthroughScenarios() []scenario {
	const form = "application/x-www-form-urlencoded"
	const message = `{"user":{"id":"foo"},"body":{"content":"bar"}}`
	return []scenario{{name: "walkthrough", penstockArgs: quickStop, steps: []step{
		ask("add foo", "POST /streams/foo", walkthroughFoo+"buffer:\n  memory: {}\n", 200, nothing).with("Content-Type", form),
		ask("the set", "GET /streams", "", 200, sameStreams),
		ask("send data", "POST /foo/post", message, 200, sameWire).with("Content-Type", form).soon(),
		ask("read it", "GET /foo/get", "", 200, sameWire).theirs(has(`{"content":"bar","id":"foo"}`)),
		ask("add bar", "POST /streams/bar", idleYAML, 200, nothing).with("Content-Type", form),
		ask("the set of both", "GET /streams", "", 200, sameStreams),
		ask("foo's config", "GET /streams/foo", "", 200, sameStatus),
		// An http_server output closes when its next reader comes, if ever.
		exchange("update foo without the buffer", "no answer within 4s",
			answered(4*time.Second, request{Method: http.MethodPut, Path: "/streams/foo", Body: walkthroughFoo})).
			exceptOutcome("stops-always-end", "200"),
		ask("foo's new config", "GET /streams/foo", "", 200, sameStatus).soon(lacks("memory")),
		exchange("data goes through without the buffer", `post 200, get 200 {"content":"bar","id":"foo"}`,
			func(ctx context.Context, c *client) (string, error) { return throughFoo(ctx, c, message) }),
		ask("delete bar", "DELETE /streams/bar", "", 200, nothing),
		ask("the set without bar", "GET /streams", "", 200, sameStreams),
		exchange("replace the set", "no answer within 4s",
			answered(4*time.Second, request{Method: http.MethodPost, Path: "/streams", Body: walkthroughSet})).
			exceptOutcome("stops-always-end", "200"),
		ask("the new set", "GET /streams", "", 200, sameStreams).soon(lacks("foo")),
		ask("foo is gone", "GET /streams/foo", "", 404, sameText),
		exchange("bar pulls what baz is sent", "received", throughBaz),
	}}}
}

const (
	walkthroughFoo = `
input:
  http_server: {}
pipeline:
  threads: 4
  processors:
    - mapping: |
        root = {
          "id": this.user.id,
          "content": this.body.content
        }
output:
  http_server: {}
`
	walkthroughSet = `
bar:
  input:
    http_client:
      url: ` + baseURL + `/baz/get
  output:
    stdout: {}
baz:
  input:
    http_server: {}
  output:
    http_server: {}
`
)

// throughFoo posts and, at the same time, gets: without a buffer neither is
// answered before the other is there.
func throughFoo(ctx context.Context, c *client, message string) (string, error) {
	type result struct {
		answer
		err error
	}
	posted := make(chan result, 1)
	go func() {
		a, err := c.ask(ctx, request{Method: http.MethodPost, Path: "/foo/post", Body: message})
		posted <- result{a, err}
	}()
	got, err := c.ask(ctx, request{Method: http.MethodGet, Path: "/foo/get"})
	post := <-posted
	if err != nil {
		return "", err
	}
	if post.err != nil {
		return "", post.err
	}
	return fmt.Sprintf("post %d, get %d %s", post.Status, got.Status, got.Text()), nil
}

// throughBaz posts to baz until bar has written a message. More than one may
// be needed: bar gives a request up just when baz does, and a message may fall
// between two requests.
func throughBaz(ctx context.Context, c *client) (string, error) {
	err := poll(soonTimeout, func() error {
		if _, err := c.ask(ctx, request{Method: http.MethodPost, Path: "/baz/post", Body: "hello"}); err != nil {
			return err
		}
		a, err := c.ask(ctx, request{Method: http.MethodGet, Path: "/streams/bar/stats?format=flat"})
		if err != nil {
			return err
		}
		var stats map[string]any
		if err := json.Unmarshal(a.Body, &stats); err != nil {
			return err
		}
		if sent, _ := stats[`output_sent{label="",path="root.output",stream="bar"}`].(float64); sent == 0 {
			return fmt.Errorf("bar has sent nothing: %s", a)
		}
		return nil
	})
	return "received", err
}
