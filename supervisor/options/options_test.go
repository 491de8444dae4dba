package options_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"gopkg.in/yaml.v3"

	"penstock/supervisor/options"
)

// block returns the value of the one key of a text.
func block(t *testing.T, text string) *yaml.Node {
	t.Helper()
	var root yaml.Node
	require.NoError(t, yaml.Unmarshal([]byte(text), &root), text)
	return root.Content[0].Content[1]
}

// parsed returns the lints as "line:column message".
func parsed(t *testing.T, text string) (options.Options, []string) {
	t.Helper()
	return allowed(t, text, options.Allowed{})
}

// allowed is parsed on a server that does not permit everything.
func allowed(t *testing.T, text string, by options.Allowed) (options.Options, []string) {
	t.Helper()
	got, lints := options.Parse(block(t, text), by)
	out := []string{}
	for _, l := range lints {
		out = append(out, fmt.Sprintf("%d:%d %s", l.Line, l.Column, l.Message))
	}
	return got, out
}

func restart(policy options.Policy, attempts int, initial, longest time.Duration) options.Options {
	return options.Options{Restart: options.Restart{
		Policy: policy, MaxAttempts: attempts, Backoff: options.Backoff{Initial: initial, Max: longest}}}
}

var defaults = restart(options.PolicyOnFailure, 0, 0, 0)

func TestDefaults(t *testing.T) {
	got, lints := options.Parse(nil, options.Allowed{})
	assert.Equal(t, defaults, got)
	assert.Empty(t, lints)
	for _, text := range []string{
		"runtime:\n", "runtime: {}", "runtime: ~", "runtime:\n  restart:\n", "runtime: {restart: {}}", "runtime: {restart: {backoff: }}",
		"runtime: {limits: , env: , sandbox: }", "runtime: {limits: {io: }, env: {}, sandbox: {read: , write: []}}",
	} {
		got, lints := parsed(t, text)
		assert.Equal(t, defaults, got, text)
		assert.Empty(t, lints, text)
	}
}

func TestValues(t *testing.T) {
	for text, want := range map[string]options.Options{
		"{policy: always}":                       restart(options.PolicyAlways, 0, 0, 0),
		"{policy: on-failure}":                   defaults,
		"{\"policy\": \"never\"}":                restart(options.PolicyNever, 0, 0, 0),
		"{max_attempts: 0}":                      defaults,
		"{max_attempts: 5}":                      restart(options.PolicyOnFailure, 5, 0, 0),
		"{max_attempts: 1_000_000}":              restart(options.PolicyOnFailure, 1_000_000, 0, 0),
		"{max_attempts: 0x10}":                   restart(options.PolicyOnFailure, 16, 0, 0),
		"{backoff: {initial: 1ms}}":              restart(options.PolicyOnFailure, 0, time.Millisecond, 0),
		"{backoff: {max: 24h}}":                  restart(options.PolicyOnFailure, 0, 0, 24*time.Hour),
		"{backoff: {max: 1m30s, initial: 1.5s}}": restart(options.PolicyOnFailure, 0, 1500*time.Millisecond, 90*time.Second),
		"{backoff: {initial: '2s', max: 2s}}":    restart(options.PolicyOnFailure, 0, 2*time.Second, 2*time.Second),
		"{policy: always, max_attempts: 5, backoff: {initial: 100ms, max: 30s}}": restart(
			options.PolicyAlways, 5, 100*time.Millisecond, 30*time.Second),
	} {
		got, lints := parsed(t, "runtime:\n  restart: "+text)
		assert.Empty(t, lints, text)
		assert.Equal(t, want, got, text)
	}
}

const variable = "is not replaced here, since the supervisor reads this block and it takes no variables: write the value itself"

func TestLints(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"a word", "runtime: always", "1:10 field runtime: expected object, got string always"},
		{"a list", "runtime: [restart]", "1:10 field runtime: expected object, got array"},
		{"a number", "runtime: {restart: 5}", "1:20 field restart: expected object, got number 5"},
		{"unknown, nothing like it", "runtime: {isolation: {}}", "1:11 field isolation not recognised, runtime takes restart, limits, env, sandbox, http, replicas, idle_timeout and runner"},
		{"unknown, nothing like it, of several", "runtime: {restart: {attempts_total: 1}}",
			"1:21 field attempts_total not recognised, restart takes policy, max_attempts and backoff"},
		{"mistyped", "runtime: {restrat: {}}", "1:11 field restrat not recognised, did you mean restart?"},
		{"mistyped deeper", "runtime:\n  restart:\n    polcy: always", "3:5 field polcy not recognised, did you mean policy?"},
		{"another spelling", "runtime: {restart: {maxAttempts: 1}}", "1:21 field maxAttempts not recognised, did you mean max_attempts?"},
		{"yet another", "runtime: {restart: {Max-Attempts: 1}}", "1:21 field Max-Attempts not recognised, did you mean max_attempts?"},
		{"unknown, of several lines", "runtime: {\"a\\nb\": 1}", "1:11 field a\ufffdb not recognised, runtime takes restart, limits, env, sandbox, http, replicas, idle_timeout and runner"},
		{"unknown, empty", "runtime: {'': 1}", "1:11 field \"\" not recognised, runtime takes restart, limits, env, sandbox, http, replicas, idle_timeout and runner"},
		{"a key that is a list", "runtime: {[restart]: 1}", "1:11 field \"\" not recognised, runtime takes restart, limits, env, sandbox, http, replicas, idle_timeout and runner"},

		{"policy of another word", "runtime: {restart: {policy: sometimes}}",
			"1:29 field policy: value sometimes is not a valid option for this field, expected always, on-failure or never"},
		{"policy in capitals", "runtime: {restart: {policy: Never}}",
			"1:29 field policy: value Never is not a valid option for this field, expected always, on-failure or never"},
		{"policy, empty", "runtime: {restart: {policy: ''}}",
			"1:29 field policy: value \"\" is not a valid option for this field, expected always, on-failure or never"},
		{"policy, a boolean", "runtime: {restart: {policy: true}}", "1:29 field policy: expected string, got boolean"},
		{"policy, null", "runtime:\n  restart:\n    policy:\n", "3:12 field policy: expected string, got null"},
		{"policy, an object", "runtime: {restart: {policy: {always: {}}}}", "1:29 field policy: expected string, got object"},
		{"policy, a date", "runtime: {restart: {policy: 2001-01-01}}", "1:29 field policy: expected string, got a value tagged !!timestamp"},

		{"attempts below", "runtime: {restart: {max_attempts: -1}}", "1:35 field max_attempts: expected an integer from 0 to 1000000, got -1"},
		{"attempts above", "runtime: {restart: {max_attempts: 1000001}}", "1:35 field max_attempts: expected an integer from 0 to 1000000, got 1000001"},
		{"attempts far above", "runtime: {restart: {max_attempts: 18446744073709551615}}",
			"1:35 field max_attempts: expected an integer from 0 to 1000000, got 18446744073709551615"},
		{"attempts, a fraction", "runtime: {restart: {max_attempts: 1.5}}", "1:35 field max_attempts: expected integer, got number 1.5"},
		{"attempts, quoted", "runtime: {restart: {max_attempts: '5'}}", "1:35 field max_attempts: expected integer, got string 5"},
		{"attempts, null", "runtime: {restart: {max_attempts: ~}}", "1:35 field max_attempts: expected integer, got null"},
		{"attempts, a false tag", "runtime: {restart: {max_attempts: !!int x}}", "1:35 field max_attempts: expected an integer from 0 to 1000000, got x"},

		{"initial without a unit", "runtime: {restart: {backoff: {initial: 100}}}", "1:40 field initial: the duration 100 has no unit, write for example 100ms or 1m30s"},
		{"initial, zero", "runtime: {restart: {backoff: {initial: 0}}}", "1:40 field initial: the duration 0 has no unit, write for example 100ms or 1m30s"},
		{"initial, a quoted number", "runtime: {restart: {backoff: {initial: '100'}}}", "1:40 field initial: 100 is not a duration, write for example 100ms or 1m30s"},
		{"initial, no duration", "runtime: {restart: {backoff: {initial: 1 day}}}", "1:40 field initial: 1 day is not a duration, write for example 100ms or 1m30s"},
		{"initial below", "runtime: {restart: {backoff: {initial: 999us}}}", "1:40 field initial: expected a duration from 1ms to 24h, got 999us"},
		{"initial, negative", "runtime: {restart: {backoff: {initial: -1s}}}", "1:40 field initial: expected a duration from 1ms to 24h, got -1s"},
		{"initial above", "runtime: {restart: {backoff: {initial: 25h}}}", "1:40 field initial: expected a duration from 1ms to 24h, got 25h"},
		{"max above", "runtime: {restart: {backoff: {max: 24h1s}}}", "1:36 field max: expected a duration from 1ms to 24h, got 24h1s"},
		{"max, overflow", "runtime: {restart: {backoff: {max: 9999999h}}}", "1:36 field max: 9999999h is not a duration, write for example 100ms or 1m30s"},
		{"max, null", "runtime: {restart: {backoff: {max: null}}}", "1:36 field max: expected string, got null"},
		{"max, a list", "runtime: {restart: {backoff: {max: [1s]}}}", "1:36 field max: expected string, got array"},
		{"max below initial", "runtime: {restart: {backoff: {max: 1m, initial: 1h30m}}}",
			"1:36 field max: 1m is below the field initial, 1h30m: raise one or lower the other"},

		{"variable for the block", "runtime: ${R}", "1:10 field runtime: ${R} " + variable},
		{"variable for a word", "runtime: {restart: {policy: \"${P:never}\"}}", "1:29 field policy: ${P:never} " + variable},
		{"variable for a number", "runtime:\n  restart:\n    max_attempts: ${N}", "3:19 field max_attempts: ${N} " + variable},
		{"variable within a duration", "runtime: {restart: {backoff: {max: \"${S}s\"}}}", "1:36 field max: ${S}s " + variable},
		{"variable for a field", "runtime:\n  ${F}: 1", "2:3 a field of runtime: ${F} " + variable},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, lints := parsed(t, c.text)
			assert.Equal(t, []string{c.want}, lints)
		})
	}
}

// Aliases are resolved before; one that was not is a fault like others.
func TestAliasIsNoValue(t *testing.T) {
	n := &yaml.Node{Kind: yaml.AliasNode, Value: "x", Line: 2, Column: 3}
	_, lints := options.Parse(n, options.Allowed{})
	require.Len(t, lints, 1)
	assert.Contains(t, lints[0].Message, "field runtime: expected object, got a value tagged")
}

func TestEveryFaultIsReportedInTheOrderOfTheText(t *testing.T) {
	_, lints := parsed(t, `runtime:
  restart:
    backoff:
      max: 1s
      initial: 2s
      factor: 2
    policy: no-way
    max_attempts: many
    policy: always
  restart: ~
  limts: {}
  sandbox: {write: [data, /a/]}
  env: {A: 1, A: b}
  limits: {memory: 1MiB, cpus: 1}
`)
	assert.Equal(t, []string{
		"4:12 field max: 1s is below the field initial, 2s: raise one or lower the other",
		"6:7 field factor not recognised, backoff takes initial and max",
		"7:13 field policy: value no-way is not a valid option for this field, expected always, on-failure or never",
		"8:19 field max_attempts: expected integer, got string many",
		"9:5 field policy already defined at line 7: remove one",
		"10:3 field restart already defined at line 2: remove one",
		"11:3 field limts not recognised, did you mean limits?",
		"12:21 field write: data is not an absolute path: start it with a slash",
		"12:27 field write: /a/ is not a clean path: write /a",
		"13:12 field A: expected string, got number 1: put it in quotes",
		"13:15 field A already defined at line 13: remove one",
		"14:20 field memory: expected a size from 32MiB to 4PiB, got 1MiB",
		"14:26 field cpus not recognised, did you mean cpu?",
	}, lints)
}

func TestMessagesStayShort(t *testing.T) {
	long := strings.Repeat("x", 100_000)
	_, lints := parsed(t, "runtime: {"+long[:1000]+": 1, restart: {policy: "+long+"}}")
	require.Len(t, lints, 2)
	for _, l := range lints {
		assert.Less(t, len(l), 300)
	}
}
