// Command penstock-runner hosts exactly one stream. It is started by
// penstock, never by hand. To carry components of your own, copy this file
// and add their imports.
package main

import (
	"os"

	// The engine's components: those without and those with access to files,
	// processes and the network.
	_ "github.com/redpanda-data/benthos/v4/public/components/io"
	_ "github.com/redpanda-data/benthos/v4/public/components/pure"

	"penstock/runner"
)

// version is set by the linker (-X main.version=…).
var version string

func main() {
	os.Exit(runner.Main(version))
}
