package options_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"penstock/supervisor/options"
)

func TestHTTP(t *testing.T) {
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
