package api

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestComponents(t *testing.T) {
	r := newRecorder()
	addr := serve(t, testConfig(), r)
	for path, want := range map[string]struct {
		status      int
		typ, answer string
	}{
		"/components":                             {200, "application/json", `{"components": [{"class": "input", "name": "of ", "status": "stable", "summary": "Reads <it>.", "runners": [""]}]}`},
		"/components?class=input&runner=mine":     {200, "application/json", `{"components": [{"class": "input", "name": "of input", "status": "stable", "summary": "Reads <it>.", "runners": ["mine"]}]}`},
		"/components/cache/far%20away?runner=b":   {200, "application/schema+json", `{"class": "cache", "name": "far away", "runners": ["b"], "type": "object"}`},
		"/components/schema":                      {200, "application/schema+json", `{"title": "of "}`},
		"/components/schema?runner=core":          {200, "application/schema+json", `{"title": "of core"}`},
		"/benthos/components/schema?runner=under": {200, "application/schema+json", `{"title": "of under"}`},
	} {
		got := call(t, addr, "GET", path, "")
		assert.Equal(t, want.status, got.StatusCode, path)
		assert.Equal(t, want.typ, got.Header.Get("Content-Type"), path)
		assert.JSONEq(t, want.answer, got.text, path)
	}
	got := call(t, addr, "GET", "/components?class=inputt", "")
	assert.Equal(t, 404, got.StatusCode)
	assert.Equal(t, "Error: class \"inputt\": not found\n", got.text)
	for _, path := range []string{"/components", "/components/schema", "/components/input/a"} {
		assert.Equal(t, 400, call(t, addr, "POST", path, "{}").StatusCode, path)
	}
}
