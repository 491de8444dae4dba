// Command penstock-runner-connect is the runner with every component of the
// community set of Redpanda Connect, which is under the Apache License 2.0.
package main

import (
	"os"

	_ "github.com/redpanda-data/connect/v4/public/components/community"

	"penstock/runner"
)

// version is set by the linker (-X main.version=…).
var version string

func main() {
	os.Exit(runner.Main(version))
}
