package catalogue

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"penstock/rpc"
)

// Ref is a place of a config that names a component.
type Ref struct {
	Class rpc.ComponentType
	Name  string
	// Path is the place, as input.broker.inputs.0.
	Path string
}

// String names the component and where it stands.
func (r Ref) String() string { return fmt.Sprintf("%s %s at %s", r.Class, r.Name, r.Path) }

// Named is what a config names.
type Named struct {
	Refs []Ref
	// Open says that a place for a component names none that is known.
	Open bool
	// Templated says that there are templates among what is named, and Maybe are the
	// components that these may make of themselves.
	Templated bool
	Maybe     []Ref
}

// And is both together.
func (n Named) And(other Named) Named {
	return Named{
		Refs: slices.Concat(n.Refs, other.Refs), Maybe: slices.Concat(n.Maybe, other.Maybe),
		Open: n.Open || other.Open, Templated: n.Templated || other.Templated,
	}
}

// classDriver is the class of what the SQL components name as their driver, which
// runners carry as they do components.
const classDriver rpc.ComponentType = "SQL driver"

// key tells components apart.
type key struct {
	class rpc.ComponentType
	name  string
}

// The kinds of fields that are not of one value.
const (
	kindArray   = "array"
	kind2DArray = "2darray"
	kindMap     = "map"
)

// root is a stream's config, as far as it holds components.
var root = []field{
	one("input", rpc.TypeInput),
	one("buffer", rpc.TypeBuffer),
	{name: "pipeline", children: []field{list("processors", rpc.TypeProcessor)}},
	one("output", rpc.TypeOutput),
	one("metrics", rpc.TypeMetrics),
	one("tracer", rpc.TypeTracer),
	list("input_resources", rpc.TypeInput),
	list("processor_resources", rpc.TypeProcessor),
	list("output_resources", rpc.TypeOutput),
	list("cache_resources", rpc.TypeCache),
	list("rate_limit_resources", rpc.TypeRateLimit),
}

func one(name string, class rpc.ComponentType) field { return field{name: name, class: class} }

func list(name string, class rpc.ComponentType) field {
	return field{name: name, class: class, kind: kindArray}
}

// field is what is kept of rpc.Field: of fields that hold components, or lead to
// such, where these stand.
type field struct {
	name string
	// class is empty for a field that only leads to components.
	class    rpc.ComponentType
	kind     string
	children []field
}

// fieldOf is false for a field in which there is no component.
func fieldOf(f rpc.Field) (field, bool) {
	out := field{name: f.Name, kind: f.Kind}
	if slices.Contains(rpc.ComponentTypes(), rpc.ComponentType(f.Type)) {
		out.class = rpc.ComponentType(f.Type)
		return out, true
	}
	for _, child := range f.Children {
		if kept, leads := fieldOf(child); leads {
			out.children = append(out.children, kept)
		}
	}
	return out, len(out.children) > 0
}

// merged is what leads to a component by either. Of two runners one may be older.
func merged(a, b []field) []field {
	out := slices.Clone(a)
	for _, f := range b {
		at := slices.IndexFunc(out, func(o field) bool { return o.name == f.name && o.class == f.class && o.kind == f.kind })
		if at < 0 {
			out = append(out, f)
			continue
		}
		out[at].children = merged(out[at].children, f.children)
	}
	return out
}

// Named lists what a stream's config names, by its places.
func (c *Catalogue) Named(config any) Named {
	w := walk{catalogue: c}
	w.children(root, config, "")
	return w.result()
}

// NamedBy is Named for the config of one component that stands at a place, such
// as a resource.
func (c *Catalogue) NamedBy(class rpc.ComponentType, config any, place string) Named {
	w := walk{catalogue: c}
	w.component(class, config, place)
	return w.result()
}

type walk struct {
	catalogue *Catalogue
	found     Named
}

func (w *walk) result() Named {
	slices.SortStableFunc(w.found.Refs, func(a, b Ref) int {
		return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Class, b.Class))
	})
	w.found.Refs = slices.Compact(w.found.Refs)
	return w.found
}

func (w *walk) children(fields []field, config any, path string) {
	values, _ := config.(map[string]any)
	for _, f := range fields {
		if value, set := values[f.name]; set {
			w.field(f, f.kind, value, join(path, f.name))
		}
	}
}

func (w *walk) field(f field, kind string, value any, path string) {
	switch kind {
	case kindArray, kind2DArray:
		inner := ""
		if kind == kind2DArray {
			inner = kindArray
		}
		values, _ := value.([]any)
		for i, v := range values {
			w.field(f, inner, v, join(path, strconv.Itoa(i)))
		}
	case kindMap:
		values, _ := value.(map[string]any)
		for _, name := range slices.Sorted(maps.Keys(values)) {
			w.field(f, "", values[name], join(path, name))
		}
	default:
		if f.class != "" {
			w.component(f.class, value, path)
			return
		}
		w.children(f.children, value, path)
	}
}

// component finds the name of a component, and what its config names.
func (w *walk) component(class rpc.ComponentType, value any, path string) {
	if value == nil {
		return // The engine takes its default, which every runner has.
	}
	values, _ := value.(map[string]any)
	names := w.names(class, values)
	if len(names) == 0 {
		w.found.Open = true
	}
	for _, name := range names {
		if mapping, templated := w.catalogue.templates[key{class, name}]; templated {
			w.found.Templated = true
			w.found.Maybe = append(w.found.Maybe, w.catalogue.madeBy(mapping, path)...)
			continue
		}
		w.found.Refs = append(w.found.Refs, Ref{Class: class, Name: name, Path: path})
		w.driver(name, values, path)
		for _, of := range w.catalogue.fields[key{class, name}] {
			for _, place := range []string{name, pluginKey} {
				if config, set := values[place]; set {
					w.field(of, of.kind, config, join(path, place))
				}
			}
		}
	}
	if class == rpc.TypeInput || class == rpc.TypeOutput {
		w.field(list("processors", rpc.TypeProcessor), kindArray, values["processors"], join(path, "processors"))
	}
}

// driver finds the SQL driver of a component, where somebody knows it: sql and
// sql_insert, and what else is called so, have it as a field.
func (w *walk) driver(name string, values map[string]any, path string) {
	if family, _, _ := strings.Cut(name, "_"); family != "sql" {
		return
	}
	for _, place := range []string{name, pluginKey} {
		config, _ := values[place].(map[string]any)
		if driver, named := config["driver"].(string); named && w.catalogue.knows(key{classDriver, driver}) {
			w.found.Refs = append(w.found.Refs, Ref{Class: classDriver, Name: driver, Path: join(join(path, place), "driver")})
		}
	}
}

const (
	// typeKey may name the component, whose config stands below its name then, or
	// below pluginKey.
	typeKey   = "type"
	pluginKey = "plugin"
)

// names are those that a place for a component has and somebody knows: the type
// where it is written, else what its keys are.
func (w *walk) names(class rpc.ComponentType, values map[string]any) (names []string) {
	if name, written := values[typeKey].(string); written {
		if w.catalogue.knows(key{class, name}) {
			names = append(names, name)
		}
		return names
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if !reserved(class, name) && w.catalogue.knows(key{class, name}) {
			names = append(names, name)
		}
	}
	return names
}

// reserved says that a key beside a component's name means the same for all of
// the class.
func reserved(class rpc.ComponentType, name string) bool {
	switch name {
	case typeKey, pluginKey, "label", "meta":
		return true
	case "processors":
		return class == rpc.TypeInput || class == rpc.TypeOutput
	case "mapping":
		return class == rpc.TypeMetrics
	}
	return false
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}
