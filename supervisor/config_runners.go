package supervisor

import (
	"fmt"
	"path/filepath"
	"strings"

	"penstock/supervisor/catalogue"
)

// otherRunners reads Config.Runners: absolute paths by the names of the runners.
func (c *Config) otherRunners() (map[string]string, error) {
	out := map[string]string{}
	for _, entry := range c.Runners {
		name, path, ok := strings.Cut(entry, "=")
		switch {
		case !ok || path == "":
			return nil, fmt.Errorf("runners: %q is not NAME=PATH, such as mine=/opt/penstock-runner-mine", entry)
		case name == catalogue.Core:
			return nil, fmt.Errorf("runners: %q: the runner %s is named by the key runner", entry, catalogue.Core)
		case !catalogue.ValidName(name):
			return nil, fmt.Errorf("runners: %q: %q is no name of a runner: %s", entry, name, catalogue.NameRule)
		case out[name] != "":
			return nil, fmt.Errorf("runners: %q: there is another runner %s: leave one out", entry, name)
		}
		absolute, err := filepath.Abs(path)
		if err != nil {
			return nil, fmt.Errorf("runners: %q: %w", entry, err)
		}
		out[name] = absolute
	}
	return out, nil
}
