package runner

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"os"

	"penstock/rpc"
	"penstock/runner/engine"
)

// describe writes what the binary is, and returns its exit code.
func describe(to io.Writer, version string) int {
	components, err := engine.Describe()
	if err == nil {
		err = json.NewEncoder(to).Encode(rpc.Description{
			Version: version, Engine: engine.Version(), Protocol: rpc.ProtocolVersion, Components: components,
			Drivers: append([]string{}, sql.Drivers()...),
		})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "penstock-runner:", err)
		return 1
	}
	return 0
}
