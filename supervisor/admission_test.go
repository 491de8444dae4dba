package supervisor

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"penstock/supervisor/options"
)

const mib = 1 << 20

func TestLedger(t *testing.T) {
	type wanted = map[string]options.Bytes
	l := newLedger(1000*mib, 90)
	require.NoError(t, l.admit(wanted{"a": 400 * mib, "b": 400 * mib}, nil))

	err := l.admit(wanted{"c": 101 * mib}, nil)
	require.ErrorIs(t, err, ErrNoRoom)
	assert.EqualError(t, err, "no room: a memory limit of 101 MiB does not fit: streams may have 900 MiB together (90% of this host's 1000 MiB, limits.host_memory_share), and 800 MiB of that are taken: lower runtime.limits.memory, or stop other streams")
	require.NoError(t, l.admit(wanted{"c": 100 * mib}, nil), "exactly what is left")
	require.NoError(t, l.admit(wanted{"d": 0}, nil), "no limit takes no room")

	require.ErrorIs(t, l.admit(wanted{"a": 401 * mib}, nil), ErrNoRoom)
	require.NoError(t, l.admit(wanted{"a": 300 * mib}, nil), "less than it has")
	require.ErrorIs(t, l.admit(wanted{"d": mib}, nil), ErrNoRoom, "the old runner of a may still live")
	l.settle("a", 300*mib)
	require.NoError(t, l.admit(wanted{"d": 100 * mib}, nil))

	require.ErrorIs(t, l.admit(wanted{"e": 500 * mib, "f": mib}, nil, "b"), ErrNoRoom, "all or none")
	require.NoError(t, l.admit(wanted{"e": 400 * mib}, nil, "b"), "b makes way")
	l.settle("b", 0)
	assert.Zero(t, l.over())
	l.settle("g", 10*mib)
	assert.EqualValues(t, 10*mib, l.over(), "what ran before runs on")
}

func TestLedgerOfUnknownHost(t *testing.T) {
	l := newLedger(0, 90)
	require.NoError(t, l.admit(map[string]options.Bytes{"a": 1 << 50}, nil))
	assert.Zero(t, l.over())
}
