// Command runner is a penstock-runner that carries NATS besides the components
// of the shipped one: what anybody does who wants components of their own.
package main

import (
	"os"

	_ "github.com/redpanda-data/benthos/v4/public/components/io"
	_ "github.com/redpanda-data/benthos/v4/public/components/pure"
	_ "github.com/redpanda-data/connect/v4/public/components/nats"

	"penstock/runner"
)

func main() {
	os.Exit(runner.Main("chaos"))
}
