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

// idleConfig is what a runner builds when it is only to check resources.
const idleConfig = "input: {inproc: penstock_none}\noutput: {drop: {}}\n"

// lint finds what the engine's linter says of the config and of the resources
// to check, or nil.
func lint(env *service.Environment, req rpc.PrepareRequest) *rpc.Rejection {
	if req.Chilled {
		return nil
	}
	var found []rpc.Lint
	if !req.ResourcesOnly {
		schema := env.CoreConfigSchema("", "")
		if req.AllowTests {
			schema.Field(service.NewAnyListField("tests").Optional())
		}
		lints, err := schema.NewStreamConfigLinter().LintYAML(req.Config)
		if rejection := collect(&found, lints, err, ""); rejection != nil {
			return rejection
		}
	}
	for _, res := range req.Resources {
		if !res.Check {
			continue
		}
		lints, err := env.NewComponentConfigLinter().LintYAML(res.Type, res.Posted)
		if rejection := collect(&found, lints, err, res.ID); rejection != nil {
			return rejection
		}
	}
	if len(found) == 0 {
		return nil
	}
	return &rpc.Rejection{Kind: rpc.RejectLint, Lints: found}
}

// collect appends lints. A missing variable is no lint upstream but a config
// that cannot be read. The engine gives its type to other lints as well; only
// the variable's has no column.
func collect(found *[]rpc.Lint, lints []service.Lint, err error, resource string) *rpc.Rejection {
	if err != nil {
		return &rpc.Rejection{Kind: rpc.RejectBuild, Message: err.Error()}
	}
	for _, l := range lints {
		if l.Type == service.LintMissingEnvVar && l.Column == 0 {
			return &rpc.Rejection{Kind: rpc.RejectBuild, Message: l.What}
		}
		*found = append(*found, rpc.Lint{Line: l.Line, Column: l.Column, Message: l.What, Resource: resource})
	}
	return nil
}

// build makes the stream without constructing any of its components yet.
func build(env *service.Environment, req rpc.PrepareRequest, logger *slog.Logger, mux *endpoints) (*service.Stream, error) {
	b := env.NewStreamBuilder()
	// lint has done it already, as upstream's API does and with its schema.
	b.DisableLinting()
	b.SetLogger(logger)
	b.SetHTTPMux(mux)

	config := string(req.Config)
	if req.ResourcesOnly {
		config = idleConfig
	}
	if err := b.SetYAML(config); err != nil {
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

// resourceYAML wraps one resource into a document of resources. Indenting
// keeps any YAML or JSON what it is, but for the text of literal blocks whose
// indentation is relative anyway.
func resourceYAML(res rpc.Resource) string {
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
