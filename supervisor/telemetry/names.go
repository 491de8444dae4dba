package telemetry

import (
	"strings"

	"github.com/prometheus/common/model"
)

const (
	streamLabel   = "stream"
	replicaLabel  = "replica"
	quantileLabel = "quantile"
	ownPrefix     = "penstock_"
	// exportedPrefix is what Prometheus itself puts before a name that it keeps
	// for itself.
	exportedPrefix = "exported_"
)

// metricName makes of a stream's name for a metric one that Prometheus takes
// and that is not the gateway's.
func metricName(name string) string {
	name = model.EscapeName(name, model.UnderscoreEscaping)
	switch {
	case name == "":
		return "_"
	case strings.HasPrefix(name, ownPrefix):
		return exportedPrefix + name
	}
	return name
}

// labelName does the same for a label.
func labelName(name string, kind kind) string {
	name = strings.ReplaceAll(model.EscapeName(name, model.UnderscoreEscaping), ":", "_")
	switch {
	case name == "":
		return "_"
	case name == streamLabel, strings.HasPrefix(name, "__"), name == quantileLabel && kind == timer:
		return exportedPrefix + name
	}
	return name
}
