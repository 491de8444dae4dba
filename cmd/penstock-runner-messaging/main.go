// Command penstock-runner-messaging is the runner with the engine's own
// components and those for message brokers, queues, databases and the like:
// what most streams name, in a fraction of the size of penstock-runner-connect.
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
