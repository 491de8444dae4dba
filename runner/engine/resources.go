package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/redpanda-data/benthos/v4/public/service"

	"penstock/rpc"
)

// prepareResources builds the resources to check where there is no stream.
// Nothing runs; what they hold is released by the end of the process.
func prepareResources(env *service.Environment, req rpc.PrepareRequest, logger *slog.Logger) error {
	resources, _, err := buildResources(env, req, logger)
	if err != nil {
		return err
	}
	return checkResources(resources, req.Resources)
}

// buildResources makes the resources of a request, of which none runs yet.
func buildResources(env *service.Environment, req rpc.PrepareRequest, logger *slog.Logger) (*service.Resources, func(context.Context) error, error) {
	b := env.NewResourceBuilder()
	b.DisableLinting()
	b.SetLogger(logger)
	b.SetHTTPMux(newEndpoints(req.StreamID, req.PrefixEndpoints))
	b.SetEnvVarLookupFunc(func(_ context.Context, name string) (string, bool) { return variable(req, name) })
	add := map[string]func(string) error{
		"cache":      b.AddCacheYAML,
		"input":      b.AddInputYAML,
		"output":     b.AddOutputYAML,
		"processor":  b.AddProcessorYAML,
		"rate_limit": b.AddRateLimitYAML,
	}
	for _, res := range req.Resources {
		addYAML, ok := add[res.Type]
		if !ok {
			return nil, nil, fmt.Errorf("resource %q has the unknown type %q", res.ID, res.Type)
		}
		if res.Shared {
			res = standIn(res)
		}
		if err := addYAML(string(res.Config)); err != nil {
			return nil, nil, fmt.Errorf("%s resource %q: %w", res.Type, res.ID, err)
		}
	}
	if err := b.SetMetricsYAML(exporterName + ": {}"); err != nil {
		return nil, nil, err
	}
	return b.BuildSuspended()
}

// resourceYAML wraps one resource into a document of resources. Indenting
// keeps any YAML or JSON what it is, but for the text of literal blocks whose
// indentation is relative anyway.
func resourceYAML(res rpc.Resource) string {
	if res.Shared {
		res = standIn(res)
	}
	body := strings.ReplaceAll(strings.TrimRight(string(res.Config), "\n"), "\n", "\n    ")
	return res.Type + "_resources:\n  -\n    " + body + "\n"
}

// checkResources constructs the resources that are new: the engine would only
// do so at their first use.
func checkResources(resources *service.Resources, list []rpc.Resource) error {
	ctx := context.Background()
	var errs []error
	for _, res := range list {
		if !res.Check {
			continue
		}
		var err error
		switch res.Type {
		case "cache":
			err = resources.AccessCache(ctx, res.ID, func(service.Cache) {})
		case "input":
			err = resources.AccessInput(ctx, res.ID, func(*service.ResourceInput) {})
		case "output":
			err = resources.AccessOutput(ctx, res.ID, func(*service.ResourceOutput) {})
		case "processor":
			err = resources.AccessProcessor(ctx, res.ID, func(*service.ResourceProcessor) {})
		case "rate_limit":
			err = resources.AccessRateLimit(ctx, res.ID, func(service.RateLimit) {})
		default:
			err = fmt.Errorf("unknown resource type %q", res.Type)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s resource %q: %w", res.Type, res.ID, err))
		}
	}
	return errors.Join(errs...)
}
