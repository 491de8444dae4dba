package main

// streamConfig is the stream that everything is measured with: it answers a
// request with its body in capitals.
const streamConfig = `input:
  http_server:
    path: /post
pipeline:
  processors:
    - mapping: root = content().uppercase()
output:
  sync_response: {}
`

// changedConfig is what an update makes of it.
const changedConfig = `input:
  http_server:
    path: /post
pipeline:
  processors:
    - mapping: root = content().capitalize()
output:
  sync_response: {}
`

// A call of the stream and its answers.
const (
	question      = "hello there"
	answer        = "HELLO THERE"
	changedAnswer = "Hello There"
)
