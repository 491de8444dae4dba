package catalogue

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"penstock/rpc"
)

// TestDriversCount: a runner that has a component and not the driver which its config
// names is none that can run it.
func TestDriversCount(t *testing.T) {
	said := func(drivers ...string) rpc.Description {
		out := with(component(rpc.TypeOutput, "sql_insert"), component(rpc.TypeCache, "sql"), component(rpc.TypeOutput, "other"))
		out.Drivers = drivers
		return out
	}
	all := []*Runner{
		runnerThat(Core, 1, coreSays), runnerThat("few", 2, said("postgres")), runnerThat("many", 3, said("mine", "postgres")),
		// One of an earlier version does not tell.
		runnerThat("old", 4, said()),
	}
	require.Nil(t, said().Drivers)
	c := newCatalogue(all)
	for config, want := range map[string]string{
		"output: {sql_insert: {driver: postgres}}":                    "few",
		"output: {sql_insert: {driver: mine}}":                        "many",
		"output: {type: sql_insert, plugin: {driver: mine}}":          "many",
		"cache_resources: [{label: a, sql: {driver: mine}}]":          "many",
		"output: {broker: {outputs: [{sql_insert: {driver: mine}}]}}": "many",
		// Nobody knows these, and the linter has the last word.
		"output: {sql_insert: {driver: '${DRIVER}'}}": "few",
		"output: {sql_insert: {driver: [mine]}}":      "few",
		"output: {sql_insert: {}}":                    "few",
		"output: {other: {driver: mine}}":             "few",
	} {
		r, err := c.Choose("", c.Named(values(t, config)))
		require.NoError(t, err, config)
		assert.Equal(t, want, r.Name, config)
	}
	mine := c.Named(values(t, "output: {sql_insert: {driver: mine}}"))
	_, err := c.Choose("few", mine)
	assert.EqualError(t, err, "the runner few, which is asked for, does not have the SQL driver mine at output.sql_insert.driver: the runner many has it")
	old, err := c.Choose("old", mine)
	require.NoError(t, err)
	assert.Equal(t, "old", old.Name)

	c = newCatalogue(all[:2])
	_, err = c.Choose("", c.Named(values(t, "output: {sql_insert: {driver: trino}}")))
	assert.EqualError(t, err, "no runner that is installed has the SQL driver trino at output.sql_insert.driver: "+
		"the runner connect has it, and is not installed: `make build-connect` builds it")
}
