package catalogue

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"penstock/rpc"
)

// TestChoose has runners of these components beside those of the core runner:
// small the input queue, large the cache far as well, own the processor mine and
// the input queue.
func TestChoose(t *testing.T) {
	queue, far, mine := component(rpc.TypeInput, "queue"), component(rpc.TypeCache, "far"), component(rpc.TypeProcessor, "mine")
	c := newCatalogue([]*Runner{
		runnerThat("large", 400, with(queue, far)), runnerThat("own", 200, with(queue, mine)), runnerThat("small", 100, with(queue)),
		// The size of the core runner does not count.
		runnerThat(Core, 300, coreSays),
		{Name: "broken", Path: "/opt/penstock-runner-broken", Fault: errors.New("it printed: no")},
	})
	names := func(runners []*Runner) (out []string) {
		for _, r := range runners {
			out = append(out, r.Name)
		}
		return out
	}
	assert.Equal(t, []string{"core", "small", "own", "large"}, names(c.Runners()))
	assert.Equal(t, []string{"broken"}, names(c.Faulty()))

	const (
		core, none  = "input: {stdin: {}}\noutput: {drop: {}}", "{}"
		queued      = "input: {queue: {}}\noutput: {drop: {}}"
		cached      = "cache_resources: [{label: a, far: {}}]"
		both        = queued + "\n" + cached
		processed   = "pipeline: {processors: [{try: [{mine: {}}]}]}"
		unknown     = "input: {quue: {}}\noutput: {drop: {}}"
		unknownToo  = "input: {queue: {}}\noutput: {dorp: {}}"
		apart       = processed + "\n" + cached
		uninstalled = "input: {redis_streams: {}}\noutput: {drop: {}}"
		mixed       = "input: {redis_streams: {}}\n" + processed
	)
	for name, of := range map[string]struct{ wanted, config, want, fault string }{
		"core":                     {"", core, "core", ""},
		"nothing named":            {"", none, "core", ""},
		"smallest":                 {"", queued, "small", ""},
		"only one has it":          {"", processed, "own", ""},
		"only the largest has all": {"", both, "large", ""},
		"nobody knows it":          {"", unknown, "core", ""},
		"nobody knows some of it":  {"", unknownToo, "small", ""},
		"asked for":                {"large", core, "large", ""},
		"asked for, unknown":       {"own", unknown, "own", ""},
		"asked for core":           {"core", core, "core", ""},

		"in two runners": {"", apart, "", "no runner has the cache far at cache_resources.0 and the processor mine at pipeline.processors.0.try.0 together: " +
			"cache far is in large; processor mine is in own: build a runner of your own that has all of it, or use several streams"},
		"not installed": {"", uninstalled, "", "no runner that is installed has the input redis_streams at input: " +
			"the runner messaging has it, and is not installed: `make build-messaging` builds it"},
		"not installed, only the largest has all": {"", uninstalled + "\npipeline: {processors: [{mongodb: {}}]}", "", "no runner that is installed has " +
			"the input redis_streams at input and the processor mongodb at pipeline.processors.0: the runner connect has it, and is not installed: `make build-connect` builds it"},
		"asked for, without": {"core", queued, "", "the runner core, which is asked for, does not have the input queue at input: the runner small has it"},
		"asked for, without, not installed": {"large", uninstalled, "", "the runner large, which is asked for, does not have the input redis_streams at input: " +
			"the runner messaging has it, and is not installed: `make build-messaging` builds it"},
		"asked for, none": {"larg", core, "", "there is no runner larg: installed are core, small, own, large"},
		"asked for, not installed": {"connect", core, "", "there is no runner connect: installed are core, small, own, large; " +
			"`make build-connect` builds it"},
		"asked for, broken": {"broken", core, "", "the runner broken (/opt/penstock-runner-broken) cannot be used: it printed: no"},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := c.Choose(of.wanted, c.Named(values(t, of.config)))
			if of.fault != "" {
				assert.EqualError(t, err, of.fault)
				return
			}
			require.NoError(t, err)
			assert.Equal(t, of.want, r.Name)
		})
	}

	_, err := c.Choose("", c.Named(values(t, mixed)))
	assert.EqualError(t, err, "no runner has the input redis_streams at input and the processor mine at pipeline.processors.0.try.0 together: "+
		"input redis_streams is in messaging (not installed) and connect (not installed); processor mine is in own: build a runner of your own that has all of it, or use several streams")
}

func TestChooseNamesWhatIsMissing(t *testing.T) {
	c := newCatalogue([]*Runner{runnerThat(Core, 1, coreSays)})
	many := "pipeline: {processors: [{redis: {}}, {redis: {}}, {sql_raw: {}}, {nats_kv: {}}, {mongodb: {}}, {redis: {}}, {redis_script: {}}]}"
	_, err := c.Choose("", c.Named(values(t, many)))
	assert.EqualError(t, err, "no runner that is installed has the processor redis at pipeline.processors.0, the processor redis at pipeline.processors.1, "+
		"the processor sql_raw at pipeline.processors.2, the processor nats_kv at pipeline.processors.3, the processor mongodb at pipeline.processors.4 and 2 more: "+
		"the runner connect has it, and is not installed: `make build-connect` builds it")

	older := runnerThat("connect", 2, with(component(rpc.TypeInput, "kafka_franz")))
	older.Version = "0.1"
	c = newCatalogue([]*Runner{runnerThat(Core, 1, coreSays), older})
	_, err = c.Choose("", c.Named(values(t, "output: {mongodb: {}}")))
	assert.EqualError(t, err, "no runner that is installed has the output mongodb at output: the runner connect has it, "+
		"but not the one that is installed, /opt/penstock-runner-connect of version 0.1: build it anew with `make build-connect`")

	c = newCatalogue([]*Runner{runnerThat(Core, 1, coreSays), {Name: "connect", Path: "/opt/c", Fault: errors.New("it is too old")}})
	_, err = c.Choose("", c.Named(values(t, "output: {mongodb: {}}")))
	assert.EqualError(t, err, "no runner that is installed has the output mongodb at output: the runner connect has it, "+
		"and /opt/c cannot be used: it is too old: build it anew with `make build-connect`")
}

// A core runner that does not say what it carries is used as it is: its linter
// knows.
func TestChooseWithoutWhatTheCoreRunnerSays(t *testing.T) {
	silent := &Runner{Name: Core, Path: "/opt/penstock-runner", Fault: errors.New("flag provided but not defined")}
	c := newCatalogue([]*Runner{silent, runnerThat("small", 1, with(component(rpc.TypeInput, "queue")))})
	for wanted, want := range map[string]string{"": Core, Core: Core, "small": "small"} {
		named := c.Named(values(t, "input: {queue: {}}"))
		r, err := c.Choose(wanted, named)
		require.NoError(t, err)
		assert.Equal(t, want, r.Name)
		assert.True(t, r.Carries(named))
	}
}
