package options_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"penstock/supervisor/options"
)

func TestAsyncOfHTTP(t *testing.T) {
	got, lints := parsed(t, "runtime:\n  http:\n    async: true\n    callback: https://hooks.example.com/done?x=1\n")
	assert.Empty(t, lints)
	assert.Equal(t, options.HTTP{Async: true, Callback: "https://hooks.example.com/done?x=1"}, got.HTTP)

	got, lints = parsed(t, "runtime: {http: {}}")
	assert.Empty(t, lints)
	assert.Equal(t, options.HTTP{}, got.HTTP)
}

func TestLintsOfHTTP(t *testing.T) {
	const url = "expected an http or https URL without a user, such as https://hooks.example.com/done, got "
	for _, c := range []struct{ name, text, want string }{
		{"a word", "runtime: {http: async}", "1:17 field http: expected object, got string async"},
		{"mistyped", "runtime: {http: {asynch: true}}", "1:18 field asynch not recognised, did you mean async?"},
		{"no boolean", "runtime: {http: {async: 'true'}}", "1:25 field async: expected boolean, got string true"},
		{"a variable", "runtime: {http: {callback: '${URL}'}}", "1:28 field callback: ${URL} " + variable},
		{"no URL", "runtime: {http: {callback: here}}", "1:28 field callback: " + url + "here"},
		{"another scheme", "runtime: {http: {callback: 'file:///etc/passwd'}}", "1:28 field callback: " + url + "file:///etc/passwd"},
		{"a user", "runtime: {http: {callback: 'http://a:b@c/'}}", "1:28 field callback: " + url + "http://a:b@c/"},
		{"a list", "runtime: {http: {callback: [http://a/]}}", "1:28 field callback: expected string, got array"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, lints := parsed(t, c.text)
			assert.Equal(t, []string{c.want}, lints)
		})
	}
}

func TestHTTP(t *testing.T) {
	for text, want := range map[string]options.HTTP{
		"":                             {},
		"{}":                           {},
		"{max_in_flight: 1}":           {MaxInFlight: 1, Queue: 100},
		"{max_in_flight: 100_000}":     {MaxInFlight: 100_000, Queue: 100},
		"{queue: 0, max_in_flight: 8}": {MaxInFlight: 8},
		"{max_in_flight: 8, queue: 3}": {MaxInFlight: 8, Queue: 3},
		"{timeout: 1ms}":               {Timeout: time.Millisecond},
		"{timeout: 24h}":               {Timeout: 24 * time.Hour},
		"{timeout: 90s, max_in_flight: 2, queue: 100000}": {MaxInFlight: 2, Queue: 100_000, Timeout: 90 * time.Second},
	} {
		got, lints := parsed(t, "runtime: {http: "+text+"}")
		assert.Empty(t, lints, text)
		assert.Equal(t, want, got.HTTP, text)
	}
}

func TestHTTPLints(t *testing.T) {
	for text, want := range map[string]string{
		"{max_in_flight: 0}":            "1:33 field max_in_flight: expected an integer from 1 to 100000, got 0",
		"{max_in_flight: 100001}":       "1:33 field max_in_flight: expected an integer from 1 to 100000, got 100001",
		"{max_in_flight: 2, queue: -1}": "1:43 field queue: expected an integer from 0 to 100000, got -1",
		"{queue: 5}":                    "1:25 field queue: nothing waits without max_in_flight: set that as well, or leave queue out",
		"{queue: 0}":                    "1:25 field queue: nothing waits without max_in_flight: set that as well, or leave queue out",
		"{timeout: 0s}":                 "1:27 field timeout: expected a duration from 1ms to 24h, got 0s",
		"{timeout: 25h}":                "1:27 field timeout: expected a duration from 1ms to 24h, got 25h",
		"{timeouts: 1s}":                "1:18 field timeouts not recognised, did you mean timeout?",
		"{hear: x}":                     "1:18 field hear not recognised, http takes max_in_flight, queue, timeout, async, callback and listen",
		"[]":                            "1:17 field http: expected object, got array",
	} {
		_, lints := parsed(t, "runtime: {http: "+text+"}")
		assert.Equal(t, []string{want}, lints, text)
	}
}
