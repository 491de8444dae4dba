// Command penstock-runner-mine is a runner with the engine's own components and
// one more. docs/custom-runner.md says how to make and install it.
package main

import (
	"os"

	_ "github.com/redpanda-data/benthos/v4/public/components/io"
	_ "github.com/redpanda-data/benthos/v4/public/components/pure"

	"penstock/runner"
)

func main() {
	os.Exit(runner.Main("mine-1"))
}
