// Command reference is the public Benthos engine with its core components and
// nothing of Penstock: `reference streams -o config.yaml` is upstream's own
// streams mode, which the conformance tests ask the same questions.
package main

import (
	"context"

	_ "github.com/redpanda-data/benthos/v4/public/components/io"
	_ "github.com/redpanda-data/benthos/v4/public/components/pure"
	"github.com/redpanda-data/benthos/v4/public/service"
)

func main() {
	service.RunCLI(context.Background())
}
