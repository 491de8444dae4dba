package integration

import "slices"

// intervalEnv is set, to intervalValue, for both servers.
const (
	intervalEnv   = "PENSTOCK_TEST_INTERVAL"
	intervalValue = "1h"
)

// Configs that several scenarios use.
const (
	idleJSON = `{"input":{"generate":{"interval":"1h","mapping":"root = {}"}},"output":{"drop":{}}}`
	idleYAML = `
input:
  generate:
    interval: 1h
    mapping: root = {}
output:
  drop: {}
`
	endingYAML = `
input:
  generate:
    count: 3
    interval: ""
    mapping: root = {}
output:
  drop: {}
`
	echoYAML = `
input:
  http_server: {}
output:
  sync_response: {}
`
)

// corpus is every scenario of the conformance test.
func corpus() []scenario {
	return slices.Concat(
		serviceScenarios(), streamScenarios(), lintScenarios(), setScenarios(),
		statsScenarios(), resourceScenarios(), endpointScenarios(), walkthroughScenarios(),
	)
}
