package options_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"penstock/supervisor/options"
)

func TestReplicas(t *testing.T) {
	scaled := func(least, most, inFlight int, cooldown time.Duration) options.Replicas {
		return options.Replicas{Min: least, Max: most, InFlight: inFlight, Cooldown: cooldown}
	}
	for text, want := range map[string]options.Replicas{
		"":                                  {},
		"replicas: 1":                       {Min: 1, Max: 1},
		"replicas: 64":                      {Min: 64, Max: 64},
		"replicas: 0x3":                     {Min: 3, Max: 3},
		"replicas: {max: 1}":                {Min: 1, Max: 1},
		"replicas: {min: 4, max: 4}":        {Min: 4, Max: 4},
		"replicas: {max: 5}":                scaled(1, 5, 10, 30*time.Second),
		"replicas: {min: 2, max: 64}":       scaled(2, 64, 10, 30*time.Second),
		"replicas: {max: 5, in_flight: 1}":  scaled(1, 5, 1, 30*time.Second),
		"replicas: {cooldown: 1m, max: 5}":  scaled(1, 5, 10, time.Minute),
		"replicas: {cooldown: 24h, max: 2}": scaled(1, 2, 10, 24*time.Hour),
		"replicas: {min: 2, max: 3, in_flight: 100000, cooldown: 100ms}": scaled(2, 3, 100_000, 100*time.Millisecond),
		// Its own limit is what one can have, wherever it is written.
		"replicas: {max: 2}, http: {max_in_flight: 3}":               scaled(1, 2, 3, 30*time.Second),
		"http: {max_in_flight: 3}, replicas: {max: 2}":               scaled(1, 2, 3, 30*time.Second),
		"http: {max_in_flight: 3}, replicas: {max: 2, in_flight: 1}": scaled(1, 2, 1, 30*time.Second),
		"replicas: 2, http: {listen: '127.0.0.1:8080'}":              {Min: 2, Max: 2},
		"replicas: 2, idle_timeout: 1m":                              {Min: 2, Max: 2},
	} {
		got, lints := parsed(t, "runtime: {"+text+"}")
		assert.Empty(t, lints, text)
		assert.Equal(t, want, got.Replicas, text)
		assert.Equal(t, want.Max > 1, got.Replicas.Several(), text)
		assert.Equal(t, want.InFlight > 0, got.Replicas.Scales(), text)
	}
}

func TestReplicasLints(t *testing.T) {
	const always = "there is always one: runtime.idle_timeout is what gives it back when nobody calls"
	for text, want := range map[string]string{
		"0":                               "1:21 field replicas: expected an integer from 1 to 64, got 0",
		"65":                              "1:21 field replicas: expected an integer from 1 to 64, got 65",
		"-1":                              "1:21 field replicas: expected an integer from 1 to 64, got -1",
		"1.5":                             "1:21 field replicas: expected integer, got number 1.5",
		"many":                            "1:21 field replicas: expected integer, got string many",
		"~":                               "1:21 field replicas: expected integer, got null",
		"[2]":                             "1:21 field replicas: expected integer, got array",
		"'${N}'":                          "1:21 field replicas: ${N} " + variable,
		"{}":                              "1:21 field replicas: max is required beside what else is said: set it, or write replicas as a number",
		"{min: 2}":                        "1:21 field replicas: max is required beside what else is said: set it, or write replicas as a number",
		"{min: 0, max: 2}":                "1:27 field min: " + always,
		"{max: 0}":                        "1:27 field max: expected an integer from 1 to 64, got 0",
		"{max: 65}":                       "1:27 field max: expected an integer from 1 to 64, got 65",
		"{min: 65, max: 2}":               "1:27 field min: expected an integer from 1 to 64, got 65",
		"{min: 3, max: 2}":                "1:35 field max: 2 is below the field min, 3: raise one or lower the other",
		"{max: 2, in_flight: 0}":          "1:41 field in_flight: expected an integer from 1 to 100000, got 0",
		"{max: 2, in_flight: 100001}":     "1:41 field in_flight: expected an integer from 1 to 100000, got 100001",
		"{max: 2, cooldown: 99ms}":        "1:40 field cooldown: expected a duration from 100ms to 24h, got 99ms",
		"{max: 2, cooldown: 25h}":         "1:40 field cooldown: expected a duration from 100ms to 24h, got 25h",
		"{min: 2, max: 2, in_flight: 3}":  "1:49 field in_flight: nothing is scaled where min is max: lower min or raise max, or leave in_flight out",
		"{min: 2, max: 2, cooldown: 10s}": "1:48 field cooldown: nothing is scaled where min is max: lower min or raise max, or leave cooldown out",
		"{max: 1, cooldown: 10s}":         "1:40 field cooldown: nothing is scaled where min is max: lower min or raise max, or leave cooldown out",
		"{maximum: 2}":                    "1:22 field maximum not recognised, replicas takes min, max, in_flight and cooldown",
		"{max: 2, inflight: 3}":           "1:30 field inflight not recognised, did you mean in_flight?",
	} {
		_, lints := parsed(t, "runtime: {replicas: "+text+"}")
		assert.Equal(t, []string{want}, lints, text)
	}

	_, lints := parsed(t, "runtime:\n  replicas: {max: 2}\n  http: {listen: '127.0.0.1:8080'}\n")
	assert.Equal(t, []string{"2:13 fields replicas and http.listen: calls on the stream's own listener do not pass the server, which would count them: write replicas as a number, or leave listen out"}, lints)
	_, lints = parsed(t, "runtime: {replicas: {min: 2, max: 2, cooldown: 10s, in_flight: 3}}")
	assert.Len(t, lints, 2)
}
