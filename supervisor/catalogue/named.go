package catalogue

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"penstock/rpc"
)

// Ref is a place of a config that names a component.
type Ref struct {
	Type rpc.ComponentType
	Name string
	// Path is the place, as input.broker.inputs.0.
	Path string
}

func (r Ref) String() string { return fmt.Sprintf("%s %s at %s", r.Type, r.Name, r.Path) }

// ref tells components apart.
type ref struct {
	typ  rpc.ComponentType
	name string
}

// fields are what is known of components: of each the fields that hold others.
type fields map[ref]*rpc.Field

// learn takes what a runner says. Of two runners that have a component of the
// same name, the fields of both count.
func (f fields) learn(components []rpc.Component) {
	for _, c := range components {
		key := ref{c.Type, c.Name}
		pruned, _ := prune(c.Config)
		if known := f[key]; known != nil {
			pruned.Children = append(pruned.Children, known.Children...)
		}
		f[key] = &pruned
	}
}

// prune leaves of a field what leads to components; false when nothing does.
func prune(field rpc.Field) (rpc.Field, bool) {
	out := rpc.Field{Name: field.Name, Type: field.Type, Kind: field.Kind}
	for _, child := range field.Children {
		if kept, leads := prune(child); leads {
			out.Children = append(out.Children, kept)
		}
	}
	return out, len(out.Children) > 0 || isComponent(field.Type)
}

func isComponent(typ string) bool { return slices.Contains(rpc.ComponentTypes(), rpc.ComponentType(typ)) }

// root is what a stream's config consists of, as far as it holds components.
var root = rpc.Field{Children: []rpc.Field{
	{Name: "input", Type: string(rpc.TypeInput)},
	{Name: "buffer", Type: string(rpc.TypeBuffer)},
	{Name: "pipeline", Children: []rpc.Field{{Name: "processors", Type: string(rpc.TypeProcessor), Kind: kindArray}}},
	{Name: "output", Type: string(rpc.TypeOutput)},
	{Name: "metrics", Type: string(rpc.TypeMetrics)},
	{Name: "tracer", Type: string(rpc.TypeTracer)},
	{Name: "input_resources", Type: string(rpc.TypeInput), Kind: kindArray},
	{Name: "processor_resources", Type: string(rpc.TypeProcessor), Kind: kindArray},
	{Name: "output_resources", Type: string(rpc.TypeOutput), Kind: kindArray},
	{Name: "cache_resources", Type: string(rpc.TypeCache), Kind: kindArray},
	{Name: "rate_limit_resources", Type: string(rpc.TypeRateLimit), Kind: kindArray},
}}

// The kinds of fields that are not of one value.
const (
	kindArray   = "array"
	kind2DArray = "2darray"
	kindMap     = "map"
)

// reserved are keys beside a component's name, which mean the same for all.
var reserved = []string{"label", "type", "plugin", "processors", "description", "name"}

// named lists what a stream's config names, in the order of the paths. A key of a
// component that nobody knows counts as its name.
func (f fields) named(config any) []Ref {
	w := walk{fields: f}
	w.children(root.Children, config, "")
	slices.SortFunc(w.found, func(a, b Ref) int { return strings.Compare(a.Path+" "+a.Name, b.Path+" "+b.Name) })
	return w.found
}

// namedBy is named for the config of one component, such as a resource.
func (f fields) namedBy(typ rpc.ComponentType, config any, path string) []Ref {
	w := walk{fields: f}
	w.component(typ, config, path)
	return w.found
}

type walk struct {
	fields fields
	found  []Ref
}

func (w *walk) children(fields []rpc.Field, config any, path string) {
	values, _ := config.(map[string]any)
	for _, field := range fields {
		if value, set := values[field.Name]; set {
			w.field(field, field.Kind, value, join(path, field.Name))
		}
	}
}

func (w *walk) field(field rpc.Field, kind string, value any, path string) {
	switch kind {
	case kindArray, kind2DArray:
		list, _ := value.([]any)
		for i, v := range list {
			inner := ""
			if kind == kind2DArray {
				inner = kindArray
			}
			w.field(field, inner, v, join(path, fmt.Sprint(i)))
		}
		return
	case kindMap:
		values, _ := value.(map[string]any)
		for _, key := range slices.Sorted(maps.Keys(values)) {
			w.field(field, "", values[key], join(path, key))
		}
		return
	}
	if isComponent(field.Type) {
		w.component(rpc.ComponentType(field.Type), value, path)
		return
	}
	w.children(field.Children, value, path)
}

// component finds the name of a component, and what its config names.
func (w *walk) component(typ rpc.ComponentType, value any, path string) {
	values, _ := value.(map[string]any)
	for _, name := range w.names(typ, values) {
		w.found = append(w.found, Ref{Type: typ, Name: name, Path: path})
		field := w.fields[ref{typ, name}]
		if field == nil {
			continue
		}
		inner := join(path, name)
		if isComponent(field.Type) || field.Kind != "" && field.Kind != "scalar" {
			// One that is nothing but a list or a map of others.
			w.field(*field, field.Kind, values[name], inner)
			continue
		}
		w.children(field.Children, values[name], inner)
	}
	// Inputs and outputs have processors of their own, and none of the components
	// has a field of that name outside of its config.
	if typ == rpc.TypeInput || typ == rpc.TypeOutput {
		w.field(rpc.Field{Type: string(rpc.TypeProcessor)}, kindArray, values["processors"], join(path, "processors"))
	}
}

// names are those of the component as the engine reads them: its type where that
// is written, else the keys that are components, and else all there are.
func (w *walk) names(typ rpc.ComponentType, values map[string]any) []string {
	if name, ok := values["type"].(string); ok {
		return []string{name}
	}
	var known, unknown []string
	for _, key := range slices.Sorted(maps.Keys(values)) {
		switch {
		case w.fields[ref{typ, key}] != nil:
			known = append(known, key)
		case !slices.Contains(reserved, key):
			unknown = append(unknown, key)
		}
	}
	if len(known) > 0 {
		return known
	}
	return unknown
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}
