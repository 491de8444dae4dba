// Command penstock-runner-connect is the runner with every component of the
// community set of Redpanda Connect that is under the Apache License 2.0.
package main

import (
	"os"

	"penstock/runner"
)

// version is set by the linker (-X main.version=…).
var version string

func main() {
	os.Exit(runner.Main(version))
}
