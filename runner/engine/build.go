package engine

import (
	"fmt"
	"log/slog"

	"github.com/redpanda-data/benthos/v4/public/service"

	"penstock/rpc"
)

// build makes the stream without constructing any of its components yet.
func build(env *service.Environment, req rpc.PrepareRequest, logger *slog.Logger, mux *endpoints) (*service.Stream, error) {
	b := env.NewStreamBuilder()
	// lint has done it already, as upstream's API does and with its schema.
	b.DisableLinting()
	b.SetLogger(logger)
	b.SetHTTPMux(mux)
	b.SetEnvVarLookupFunc(func(name string) (string, bool) { return variable(req, name) })

	if err := b.SetYAML(string(req.Config)); err != nil {
		return nil, err
	}
	for _, res := range req.Resources {
		if err := b.AddResourcesYAML(resourceYAML(res)); err != nil {
			return nil, fmt.Errorf("%s resource %q: %w", res.Type, res.ID, err)
		}
	}
	// Both come after SetYAML, which resets them to what the config says.
	if err := b.SetMetricsYAML(exporterName + ": {}"); err != nil {
		return nil, err
	}
	if err := b.SetTracerYAML("none: {}"); err != nil {
		return nil, err
	}
	return b.Build()
}
