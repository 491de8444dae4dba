package integration

import "strings"

// endpointScenarios: the HTTP endpoints of the streams themselves.
func endpointScenarios() []scenario {
	large := strings.Repeat("0123456789abcdef", 3<<16) // 3 MiB
	return []scenario{
		{name: "endpoint requests", steps: []step{
			ask("echo", "POST /streams/echo", echoYAML, 200, nothing),
			ask("a request", "POST /echo/post", "hello", 200, sameWire).soon(),
			ask("an empty one", "POST /echo/post", "", 200, sameWire),
			ask("with a query", "POST /echo/post?a=1&b=%20", "hello", 200, sameWire),
			ask("wrong verb", "GET /echo/post", "", 405, sameWire),
			ask("unknown path", "POST /echo/nope", "x", 404, sameText),
			ask("the id alone", "GET /echo", "", 404, sameText),
			ask("the id and a slash", "GET /echo/", "", 404, sameText),
			ask("a slash too many", "POST /echo/post/", "x", 404, sameText),
			ask("3 MiB", "POST /echo/post", large, 200, sameWire),
			ask("3 MiB, announced", "POST /echo/post", large, 200, sameWire).with("Expect", "100-continue"),
			ask("6 MiB", "POST /echo/post", large+large, 200, sameWire),
			exchange("a chunked body", "200 hello, chunks", chunked("/echo/post", "hello, ", "chunks")),
			ask("compressed on request", "POST /echo/post", strings.Repeat("hello ", 1000), 200, sameWire).with("Accept-Encoding", "gzip"),
			ask("several parts", "POST /echo/post", "--x\r\n\r\none\r\n--x--\r\n", 200, sameWire).
				with("Content-Type", "multipart/form-data; boundary=x"),
			ask("a content type that is none", "POST /echo/post", "x", 400, sameWire).with("Content-Type", "; ="),
			ask("its ready", "GET /echo/ready", "", 200, sameJSON).soon(),
			ask("the map of endpoints", "GET /endpoints", "", 200, sameEndpoints).
				soon(has(`"/echo/post":`, `"/echo/post/ws":`, `"/echo/ready":`)),
			ask("delete", "DELETE /streams/echo", "", 200, nothing),
			ask("its path is gone", "POST /echo/post", "x", 503, sameText).
				except("endpoints-go-with-the-stream", 404, has("404 page not found")),
			ask("its ready is gone", "GET /echo/ready", "", 503, sameJSON).
				except("endpoints-go-with-the-stream", 404, has("404 page not found")),
		}},
		{name: "synchronous responses", steps: []step{
			ask("create", "POST /streams/s", `
input:
  http_server:
    path: /things/{thing}
    allowed_verbs: [GET, POST, PUT, DELETE]
    sync_response:
      status: '${! meta("status").or("200") }'
      headers:
        Content-Type: application/json
        X-Thing: '${! meta("thing") }'
      metadata_headers:
        include_prefixes: [x_]
pipeline:
  processors:
    - mapping: |
        root = metadata().without("http_server_user_agent", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto")
        root.body = content().string()
        meta status = metadata("q").or("200")
        meta x_answer = "42"
output:
  sync_response: {}
`, 200, nothing),
			ask("what the stream is told", "POST /s/things/one?q=201", "hello", 201, sameWire).
				with("X-Custom", "value").with("Cookie", "tasty=yes").with("User-Agent", "test").soon(),
			ask("by PUT", "PUT /s/things/two", "hello", 200, sameWire).with("User-Agent", "test"),
			ask("by GET", "GET /s/things/three", "", 200, sameWire).with("User-Agent", "test"),
			ask("by DELETE", "DELETE /s/things/four", "", 200, sameWire).with("User-Agent", "test"),
			ask("by PATCH", "PATCH /s/things/five", "", 405, sameWire).with("User-Agent", "test"),
			ask("an escaped path", "GET /s/things/a%20b%2Bc?q=202&r=%26", "", 202, sameWire).with("User-Agent", "test"),
			ask("forwarded headers", "GET /s/things/x", "", 200, sameWire).with("User-Agent", "test").
				with("X-Forwarded-For", "192.0.2.1").with("X-Forwarded-Proto", "https"),
			ask("a header of the connection", "GET /s/things/x", "", 200, sameWire).with("User-Agent", "test").
				with("Connection", "close").theirs(jsonAt("close", "Connection")).
				except("hop-by-hop-headers", 200, jsonAt(nil, "Connection"), jsonAt("test", "User-Agent")),
			ask("teapot", "GET /s/things/x?q=418", "", 418, sameWire).with("User-Agent", "test"),
			ask("a status that is none", "GET /s/things/x?q=abc", "", 502, sameWire).with("User-Agent", "test"),
			ask("no content", "GET /s/things/x?q=204", "", 204, sameWire).with("User-Agent", "test"),
			ask("a redirect", "GET /s/things/x?q=302", "", 302, sameWire).with("User-Agent", "test"),
		}},
		{name: "failing requests", steps: []step{
			ask("create", "POST /streams/f", `
input: {http_server: {timeout: 300ms}}
pipeline: {processors: [{switch: [{check: 'content() == "slow"', processors: [{sleep: {duration: 2s}}]}]}]}
output: {reject: 'rejected ${! content() }'}
`, 200, nothing),
			ask("rejected", "POST /f/post", "this", 502, sameWire).soon(),
			ask("timed out", "POST /f/post", "slow", 408, sameWire),
			ask("no response asked for", "POST /streams/quiet", "input: {http_server: {}}\noutput: {drop: {}}\n", 200, nothing),
			ask("nothing comes back", "POST /quiet/post", "x", 200, nothing).soon(),
			ask("a whole tree of paths", "POST /streams/tree", `
input: {http_server: {path: /, allowed_verbs: [GET]}}
pipeline: {processors: [{mapping: root = @http_server_request_path}]}
output: {sync_response: {}}
`, 200, nothing),
			ask("its root", "GET /tree", "", 200, sameWire).soon(),
			ask("below its root", "GET /tree/a/b", "", 404, sameText).
				except("paths-ending-in-a-slash", 200, has("/tree/a/b")),
		}},
		{name: "http_server output", penstockArgs: quickStop, steps: []step{
			ask("create", "POST /streams/o", "input: {http_server: {}}\nbuffer: {memory: {}}\noutput: {http_server: {timeout: 300ms}}\n", 200, nothing),
			ask("nothing there yet", "GET /o/get", "", 408, sameWire).soon(),
			ask("wrong verb", "POST /o/get", "", 405, sameWire),
			ask("in", "POST /o/post", "one", 200, sameWire),
			ask("out", "GET /o/get", "", 200, sameWire),
			exchange("a stream of lines", "two|three", lines("/o", "two", "three")),
			exchange("the next reader gets what the last one left", "four", afterReader("/o", "four")),
			ask("create another", "POST /streams/ws", "input: {http_server: {}}\nbuffer: {memory: {}}\noutput: {http_server: {}}\n", 200, nothing),
			ask("ready", "GET /ws/ready", "", 200, sameJSON).soon(),
			exchange("in and out by websockets", "five", throughWebsocket("/ws", "five")),
			ask("paths of one's own", "POST /streams/p", `
input: {http_server: {path: /in, ws_path: ""}}
buffer: {memory: {}}
output: {http_server: {path: /out/here, stream_path: /all, ws_path: /socket, allowed_verbs: [POST]}}
`, 200, nothing),
			ask("in there", "POST /p/in", "x", 200, sameWire).soon(),
			ask("not by default's path", "POST /p/post", "x", 404, sameText),
			ask("out there", "POST /p/out/here", "", 200, sameWire),
		}},
		{name: "websocket input", steps: []step{
			ask("create", "POST /streams/w", "input: {http_server: {ws_welcome_message: welcome}}\noutput: {sync_response: {}}\n", 200, nothing),
			ask("ready", "GET /w/ready", "", 200, sameJSON).soon(),
			exchange("two messages and their answers", "welcome, one, two", conversation("/w/post/ws", "one", "two")),
			exchange("a large message", "welcome, "+large, conversation("/w/post/ws", large)),
			ask("no upgrade", "GET /w/post/ws", "", 400, sameWire),
			exchange("an unknown path", "404", refusedSocket("/w/nope/ws")),
		}},
	}
}
