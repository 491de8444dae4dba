package runner

import (
	"fmt"
	"os"
	"strings"

	"penstock/rpc"
)

// forgetHandshake takes the variables of the handshake with the supervisor out
// of the environment: a program that a stream executes, another runner as well,
// is not to take them for its own.
func forgetHandshake() error {
	for _, entry := range os.Environ() {
		name, _, _ := strings.Cut(entry, "=")
		if name != rpc.Handshake().MagicCookieKey && !strings.HasPrefix(name, "PLUGIN_") {
			continue
		}
		if err := os.Unsetenv(name); err != nil {
			return fmt.Errorf("forgetting the variable %s: %w", name, err)
		}
	}
	return nil
}
