package options_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestRunner(t *testing.T) {
	for text, want := range map[string]string{
		"runtime: {runner: connect}": "connect", "runtime: {runner: '7-of_9'}": "7-of_9", "runtime: {}": "",
	} {
		got, lints := parsed(t, text)
		assert.Empty(t, lints, text)
		assert.Equal(t, want, got.Runner, text)
	}
	const rule = " is no name of a runner: use 1 to 64 of a-z 0-9 _ - and begin with a letter or a digit"
	for text, want := range map[string]string{
		"runtime: {runner: Connect}":            "field runner: Connect" + rule,
		"runtime: {runner: ../penstock-runner}": "field runner: ../penstock-runner" + rule,
		"runtime: {runner: -a}":                 "field runner: -a" + rule,
		"runtime: {runner: ''}":                 `field runner: ""` + rule,
		"runtime: {runner: 5}":                  "field runner: expected string, got number 5",
		"runtime: {runner: [core]}":             "field runner: expected string, got array",
		"runtime: {runner: '${RUNNER}'}":        "field runner: ${RUNNER} " + variable,
		"runtime: {runners: core}":              "field runners not recognised, did you mean runner?",
	} {
		_, lints := parsed(t, text)
		if assert.Len(t, lints, 1, text) {
			assert.Contains(t, lints[0], want, text)
		}
	}
}
