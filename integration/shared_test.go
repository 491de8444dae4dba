package integration

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
)

// sharedCacheYAML is a stream that does to a shared cache what it is asked by
// headers, and answers what came of it.
const sharedCacheYAML = `
input: {http_server: {path: /op}}
pipeline:
  threads: 4
  processors:
    - switch:
        - check: 'meta("Op") == "get"'
          processors: [{cache: {resource: mine, operator: get, key: '${! meta("Key") }'}}]
        - check: 'meta("Op") == "set"'
          processors: [{cache: {resource: mine, operator: set, key: '${! meta("Key") }', value: '${! content() }', ttl: '${! meta("Ttl").or("") }'}}]
        - check: 'meta("Op") == "add"'
          processors: [{cache: {resource: mine, operator: add, key: '${! meta("Key") }', value: '${! content() }'}}]
        - check: 'meta("Op") == "delete"'
          processors: [{cache: {resource: mine, operator: delete, key: '${! meta("Key") }'}}]
    - mapping: 'root = if errored() { "error: " + error() } else { content() }'
output: {sync_response: {}}
`

// operate asks a stream of sharedCacheYAML for an operation.
func (c client) operate(t *testing.T, stream, op, key, value string) string {
	t.Helper()
	a, err := refuseNot(c.ask(t.Context(), request{
		Method: http.MethodPost, Path: "/" + stream + "/op", Body: value,
		Header: map[string]string{"Op": op, "Key": key},
	}))
	assert.NoError(t, err)
	return a.Text()
}

func TestStreamsShareAMemoryCache(t *testing.T) {
	t.Parallel()
	p := startPenstock(t)
	p.expect(t, 200, "POST", "/resources/cache/mine", "memory: {}")
	for _, id := range []string{"a", "b"} {
		p.expect(t, 200, "POST", "/streams/"+id, sharedCacheYAML)
	}
	assert.Contains(t, p.operate(t, "a", "get", "k", "x"), "does not exist")
	assert.Equal(t, "one", p.operate(t, "a", "set", "k", "one"))
	assert.Equal(t, "one", p.operate(t, "b", "get", "k", "x"))
	assert.Contains(t, p.operate(t, "b", "add", "k", "two"), "key already exists")
	fmt.Println(p.operate(t, "b", "add", "k", "two"))
	p.expect(t, 200, "DELETE", "/streams/a", "")
	p.expect(t, 200, "DELETE", "/streams/b", "")
	p.expect(t, 200, "POST", "/streams/c", sharedCacheYAML)
	assert.Equal(t, "one", p.operate(t, "c", "get", "k", "x"), "it outlives its streams")
}
