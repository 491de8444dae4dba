package engine

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/redpanda-data/benthos/v4/public/service"
	"gopkg.in/yaml.v3"

	"penstock/rpc"
)

// lint finds what the engine's linter says of the config and of the resources
// to check, or nil. What the policy denies is found in every case.
func lint(env *service.Environment, req rpc.PrepareRequest) *rpc.Rejection {
	l := newLinter(env, req)
	if !req.ResourcesOnly {
		l.lint(req.Config, "", l.stream)
	}
	for _, res := range req.Resources {
		if res.Check {
			l.lint(res.Posted, res.ID, l.resource(res.Type))
		}
	}
	if l.unreadable != nil {
		return l.unreadable
	}
	if len(l.found) == 0 {
		return nil
	}
	return &rpc.Rejection{Kind: rpc.RejectLint, Lints: l.found}
}

// linter gathers the lints of one request.
type linter struct {
	env   *service.Environment
	req   rpc.PrepareRequest
	found []rpc.Lint
	// denied are those of the found ones that are denials.
	denied map[rpc.Lint]bool
	// unreadable is what makes a document one that has no lints.
	unreadable *rpc.Rejection
}

func newLinter(env *service.Environment, req rpc.PrepareRequest) *linter {
	return &linter{env: env, req: req, denied: map[rpc.Lint]bool{}}
}

// stream lints a stream's config; quiet passes missing variables over, and
// looks into what a stream's config should not have.
func (l *linter) stream(doc []byte, quiet bool) ([]service.Lint, error) {
	schema := l.env.CoreConfigSchema("", "")
	if quiet {
		schema = l.env.FullConfigSchema("", "")
	} else if l.req.AllowTests {
		schema.Field(service.NewAnyListField("tests").Optional())
	}
	return schema.NewStreamConfigLinter().SetSkipEnvVarCheck(quiet).SetEnvVarLookupFunc(l.variable).LintYAML(doc)
}

// resource lints the config of a resource.
func (l *linter) resource(kind string) func(doc []byte, quiet bool) ([]service.Lint, error) {
	return func(doc []byte, quiet bool) ([]service.Lint, error) {
		return l.env.NewComponentConfigLinter().SetSkipEnvVarCheck(quiet).SetEnvVarLookupFunc(l.variable).LintYAML(kind, doc)
	}
}

func (l *linter) variable(_ context.Context, name string) (string, bool) {
	return variable(l.req, name)
}

// lint lints one document, whose resource's id is empty for the stream.
func (l *linter) lint(doc []byte, resource string, run func(doc []byte, quiet bool) ([]service.Lint, error)) {
	if l.unreadable != nil {
		return
	}
	if !l.req.Chilled {
		before := len(l.found)
		lints, err := run(doc, false)
		l.collect(doc, lints, err, resource)
		if len(l.found) > before || !mayDisable(doc) {
			return
		}
	}
	for _, found := range l.denials(doc, resource, run) {
		l.add(found)
	}
}

// denials finds what the policy denies in a document and nothing else.
func (l *linter) denials(doc []byte, resource string, run func(doc []byte, quiet bool) ([]service.Lint, error)) []rpc.Lint {
	if l.req.Policy.Zero() {
		return nil
	}
	// A document that cannot be read is found by the build, too.
	lints, _ := run(append([]byte("\n"), doc...), true)
	text := &document{text: doc}
	var out []rpc.Lint
	for _, found := range lints {
		found.Line--
		if lint, denial := l.convert(text, found, resource); denial {
			out = append(out, lint)
		}
	}
	return out
}

// leftOut is a resource that is kept from a stream, and why.
type leftOut struct{ id, why string }

// withoutDenied leaves the resources out that the policy denies, which were
// there before it. A stream that uses none of them does not need them. Of one
// that does the engine says that they do not exist.
func withoutDenied(env *service.Environment, req rpc.PrepareRequest) (kept []rpc.Resource, left []leftOut) {
	l := newLinter(env, req)
	for _, res := range req.Resources {
		if res.Shared {
			if err := deniedOutline(req.Policy, res); err != nil {
				left = append(left, leftOut{res.ID, fmt.Sprintf("the %s resource %q is left out: %s", res.Type, res.ID, err)})
			} else {
				kept = append(kept, res)
			}
			continue
		}
		denials := l.denials(res.Config, res.ID, l.resource(res.Type))
		if res.Check || len(denials) == 0 {
			kept = append(kept, res)
			continue
		}
		left = append(left, leftOut{
			res.ID, fmt.Sprintf("the %s resource %q is left out: %s", res.Type, res.ID, denials[0].Message),
		})
	}
	return kept, left
}

// deniedOutline is the denial of a shared resource's component. Its runner need
// not know that one.
func deniedOutline(policy rpc.ComponentPolicy, res rpc.Resource) error {
	var outline map[string]any
	if err := yaml.Unmarshal(res.Config, &outline); err != nil {
		return err
	}
	names := slices.Sorted(maps.Keys(outline))
	if typ, ok := outline["type"].(string); ok {
		names = append(names, typ)
	}
	class := rpc.ClassCaches
	if res.Type == "rate_limit" {
		class = rpc.ClassRateLimits
	}
	for _, name := range names {
		if !slices.Contains(beside, name) && denied(policy, class, name) {
			return denial{class, name}
		}
	}
	return nil
}

// add appends a denial. What an alias repeats is found again at the same place.
func (l *linter) add(found rpc.Lint) {
	if !l.denied[found] {
		l.denied[found] = true
		l.found = append(l.found, found)
	}
}

// mayDisable reports whether a document could begin, once its variables are
// resolved, with the comment by which the engine's linter is told to find
// nothing. An empty line before it undoes that.
func mayDisable(doc []byte) bool {
	return bytes.HasPrefix(doc, []byte("#")) || bytes.HasPrefix(doc, []byte("$"))
}

// collect appends lints. A missing variable is no lint upstream but a config
// that cannot be read. The engine gives its type to other lints as well; only
// the variable's has no column.
func (l *linter) collect(doc []byte, lints []service.Lint, err error, resource string) {
	if err != nil {
		l.unreadable = &rpc.Rejection{Kind: rpc.RejectBuild, Message: err.Error()}
		return
	}
	text := &document{text: doc}
	for _, found := range lints {
		if found.Type == service.LintMissingEnvVar && found.Column == 0 {
			l.unreadable = &rpc.Rejection{Kind: rpc.RejectBuild, Message: found.What}
			return
		}
		if lint, denial := l.convert(text, found, resource); denial {
			l.add(lint)
		} else {
			l.found = append(l.found, lint)
		}
	}
}

// convert takes over a lint of the engine's. One that is about what the policy
// denies is made to say so, and to point at it.
func (l *linter) convert(doc *document, found service.Lint, resource string) (_ rpc.Lint, isDenial bool) {
	out := rpc.Lint{Line: found.Line, Column: found.Column, Message: found.What, Resource: resource}
	d, isDenial := l.denialOf(found)
	if isDenial {
		out.Message = d.Error()
		out.Line, out.Column = doc.locate(found, d)
	}
	return out, isDenial
}
