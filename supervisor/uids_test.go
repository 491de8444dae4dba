package supervisor

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestUIDPool(t *testing.T) {
	pool := newUIDPool(UIDRange{First: 2000, Last: 2002})
	of := func(id string) uint32 {
		t.Helper()
		uid, err := pool.of(id)
		require.NoError(t, err)
		return uid
	}
	assert.Zero(t, pool.known("a"))
	assert.Equal(t, uint32(2000), of("a"))
	assert.Equal(t, uint32(2000), of("a"), "a stream keeps its user")
	assert.Equal(t, uint32(2000), pool.known("a"))
	assert.Equal(t, uint32(2001), of("b"))

	pool.release("a")
	assert.Equal(t, uint32(2002), of("c"), "a user that was given back is the last to be given again")
	assert.Equal(t, uint32(2000), of("d"))
	_, err := pool.of("e")
	require.ErrorIs(t, err, ErrNoRoom)
	assert.ErrorContains(t, err, "all 3 users of isolation.uids are taken")

	pool.release("nobody")
	pool.release("b")
	assert.Equal(t, uint32(2001), of("e"))
}

func TestUIDPoolClaim(t *testing.T) {
	pool := newUIDPool(UIDRange{First: 2000, Last: 2009})
	pool.claim("old", 2004)
	pool.claim("twin", 2004)
	pool.claim("outside", 1999)
	assert.Equal(t, uint32(2004), pool.known("old"))
	assert.Zero(t, pool.known("twin"), "somebody else has it")
	assert.Zero(t, pool.known("outside"), "the operator has changed the range")
	uid, err := pool.of("new")
	require.NoError(t, err)
	assert.Equal(t, uint32(2005), uid)
}
