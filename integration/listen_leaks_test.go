package integration

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// TestOwnListenerLeaks makes, moves and deletes streams with listeners over and
// over: neither the supervisor nor an address is left with anything.
func TestOwnListenerLeaks(t *testing.T) {
	t.Parallel()
	p := startPenstock(t, "--log-level", "error")
	addresses := []string{freeAddress(t), freeAddress(t)}
	cycle := func(i int) {
		here, there := addresses[i%2], addresses[(i+1)%2]
		p.expect(t, 200, "POST", "/streams/a", listening("a", here))
		switch i % 4 {
		case 0:
			p.expect(t, 200, "PUT", "/streams/a", listening("b", there))
		case 1:
			p.expect(t, 400, "PUT", "/streams/a", listening("b", there)+"nonsense: {}\n")
		case 2:
			p.expect(t, 200, "POST", "/streams/a/restart", "")
		case 3:
			p.expect(t, 200, "PATCH", "/streams/a", "runtime: {idle_timeout: 100ms}")
			awaitState(t, p.client, "a", "idle")
			assert.Equal(t, "a:x", newCaller(here).expect(t, 200, "POST", "/post", "x").Text())
		}
		p.expect(t, 200, "DELETE", "/streams/a", "")
	}
	for i := range 8 {
		cycle(i)
	}
	before := settled(t, p, holdings{})
	for i := range 200 {
		cycle(i)
	}
	after := settled(t, p, before)
	assert.LessOrEqual(t, after.Files, before.Files, "open files")
	for _, address := range addresses {
		assert.True(t, nobodyAt(t, address), address)
	}
	assert.LessOrEqual(t, after.Threads, before.Threads+threadLimit, "threads")
}
