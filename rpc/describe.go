package rpc

import "encoding/json"

// DescribeFlag has a runner's binary print its Description as JSON and exit.
const DescribeFlag = "--describe"

// Description is what a runner's binary says of itself.
type Description struct {
	// Version is the binary's own, Engine that of the engine in it, and Protocol
	// is ProtocolVersion.
	Version  string `json:"version"`
	Engine   string `json:"engine"`
	Protocol int    `json:"protocol"`
	// Components are all that the binary carries, by type and name.
	Components []Component `json:"components"`
	// Drivers are the names of the SQL drivers that it carries, sorted; nil when it
	// does not tell, as one of an earlier version.
	Drivers []string `json:"drivers"`
}

// Component is one kind of component that a config may name, as the engine
// describes it.
type Component struct {
	// Type is what it can stand for in a config.
	Type ComponentType `json:"type"`
	Name string        `json:"name"`
	// Status is stable, beta, experimental or deprecated.
	Status      string    `json:"status"`
	Summary     string    `json:"summary,omitempty"`
	Description string    `json:"description,omitempty"`
	Categories  []string  `json:"categories,omitempty"`
	Examples    []Example `json:"examples,omitempty"`
	// Config describes what its config takes.
	Config Field `json:"config"`
}

// Example is a config that shows what a component is for.
type Example struct {
	Title   string `json:"title"`
	Summary string `json:"summary"`
	Config  string `json:"config"`
}

// ComponentType is what a component can stand for in a config.
type ComponentType string

// The types of components.
const (
	TypeBuffer    ComponentType = "buffer"
	TypeCache     ComponentType = "cache"
	TypeInput     ComponentType = "input"
	TypeMetrics   ComponentType = "metrics"
	TypeOutput    ComponentType = "output"
	TypeProcessor ComponentType = "processor"
	TypeRateLimit ComponentType = "rate_limit"
	TypeScanner   ComponentType = "scanner"
	TypeTracer    ComponentType = "tracer"
)

// ComponentTypes are all of them, sorted.
func ComponentTypes() []ComponentType {
	return []ComponentType{
		TypeBuffer, TypeCache, TypeInput, TypeMetrics, TypeOutput, TypeProcessor, TypeRateLimit, TypeScanner, TypeTracer,
	}
}

// Field is one field of a component's config, or the whole of it.
type Field struct {
	Name string `json:"name,omitempty"`
	// Type is string, int, float, bool, object, unknown, or a ComponentType.
	Type string `json:"type"`
	// Kind is scalar, array, 2darray or map: of what Type is the type.
	Kind         string          `json:"kind,omitempty"`
	Description  string          `json:"description,omitempty"`
	Advanced     bool            `json:"is_advanced,omitempty"`
	Deprecated   bool            `json:"is_deprecated,omitempty"`
	Optional     bool            `json:"is_optional,omitempty"`
	Secret       bool            `json:"is_secret,omitempty"`
	Interpolated bool            `json:"interpolated,omitempty"`
	Bloblang     bool            `json:"bloblang,omitempty"`
	Default      json.RawMessage `json:"default,omitempty"`
	Examples     []any           `json:"examples,omitempty"`
	// Options are the values that it may have, and AnnotatedOptions too, each
	// with what it means.
	Options          []string    `json:"options,omitempty"`
	AnnotatedOptions [][2]string `json:"annotated_options,omitempty"`
	Children         []Field     `json:"children,omitempty"`
}
