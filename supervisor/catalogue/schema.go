package catalogue

import (
	"maps"
	"net/url"
	"slices"
	"strings"

	"penstock/rpc"
)

// Schema is a JSON Schema of draft 2020-12.
type Schema map[string]any

const (
	dialect = "https://json-schema.org/draft/2020-12/schema"
	// wholePath is where the schema of a whole config is served, and the definitions
	// that those of single components refer to.
	wholePath = "/components/schema"
	defsPath  = "#/$defs/"
)

// holdsVariable is what a text looks like that stands for a value of another type.
const holdsVariable = `\$\{`

// Component is the schema of the config of a component, that which stands below
// its name, with what else there is to say of it.
func (l *Library) Component(class, name string) (Schema, error) {
	b, err := l.find(class, name)
	if err != nil {
		return nil, err
	}
	out := l.book(b, l.query(wholePath)+defsPath)
	maps.Copy(out, Schema{
		"$schema": dialect,
		"$id":     l.query("/components/" + class + "/" + url.PathEscape(name)),
		"class":   b.Type, "name": b.Name, "status": b.Status, "summary": b.Summary, "runners": b.runners,
	})
	if len(b.Categories) > 0 {
		out["categories"] = b.Categories
	}
	if len(b.Examples) > 0 {
		out["usage"] = b.Examples
	}
	return out, nil
}

// query keeps to the runner that the library is of.
func (l *Library) query(path string) string {
	if l.runner == "" {
		return path
	}
	return path + "?runner=" + url.QueryEscape(l.runner)
}

// Whole is the schema of a stream's whole config.
func (l *Library) Whole() Schema {
	defs := Schema{}
	for of, b := range l.byKey {
		defs[defOf(of.class, of.name)] = l.book(b, defsPath)
	}
	for _, class := range rpc.ComponentTypes() {
		defs[string(class)] = l.class(class)
	}
	part := func(class rpc.ComponentType, text string) Schema {
		return Schema{"$ref": defsPath + string(class), "description": text}
	}
	return Schema{
		"$schema": dialect,
		"$id":     l.query(wholePath),
		"title":   "The config of a stream",
		"type":    "object",
		"properties": Schema{
			"input":  part(rpc.TypeInput, "Where messages come from."),
			"buffer": part(rpc.TypeBuffer, "What holds messages between the input and the processors."),
			"pipeline": Schema{
				"type": "object", "description": "What is done with messages.", "additionalProperties": false,
				"properties": Schema{
					"threads":    number("integer", `^-?[0-9]+$`),
					"processors": Schema{"type": "array", "items": Schema{"$ref": defsPath + string(rpc.TypeProcessor)}},
				},
			},
			"output":  part(rpc.TypeOutput, "Where messages go."),
			"runtime": Schema{"type": "object", "description": "What the supervisor does with the stream: docs/configuration.md."},
		},
		"additionalProperties": false,
		"$defs":                defs,
	}
}

func defOf(class rpc.ComponentType, name string) string { return string(class) + "." + name }

// class is a place where any component of the class may stand.
func (l *Library) class(class rpc.ComponentType) Schema {
	var names []string
	properties := Schema{}
	for of, b := range l.byKey {
		if of.class != class {
			continue
		}
		names = append(names, of.name)
		properties[of.name] = Schema{"$ref": defsPath + pointer(defOf(class, of.name))}
		if b.Summary != "" {
			properties[of.name].(Schema)["description"] = b.Summary
		}
	}
	slices.Sort(names)
	properties[typeKey] = choice(names)
	properties[pluginKey] = Schema{}
	properties["meta"] = Schema{"type": "object"}
	switch class {
	case rpc.TypeInput, rpc.TypeOutput, rpc.TypeProcessor, rpc.TypeCache, rpc.TypeRateLimit:
		properties["label"] = Schema{"type": "string", "description": "What the component is called in logs and metrics."}
	case rpc.TypeMetrics:
		properties["mapping"] = Schema{"type": "string"}
	case rpc.TypeBuffer, rpc.TypeScanner, rpc.TypeTracer:
	}
	if class == rpc.TypeInput || class == rpc.TypeOutput {
		properties["processors"] = Schema{"type": "array", "items": Schema{"$ref": defsPath + string(rpc.TypeProcessor)}}
	}
	return Schema{"type": "object", "properties": properties, "additionalProperties": false}
}

// book is the schema of a component's config; refs is what the name of a
// definition follows.
func (l *Library) book(b *book, refs string) Schema {
	out := schemaOf(b.Config, refs)
	out["title"] = string(b.Type) + " " + b.Name
	if text := strings.TrimSpace(b.Summary + "\n\n" + b.Description); text != "" {
		out["description"] = text
	}
	if b.Status == "deprecated" {
		out["deprecated"] = true
	}
	return out
}

// schemaOf is the schema of a field.
func schemaOf(f rpc.Field, refs string) Schema {
	out := kindOf(f, refs)
	if f.Description != "" {
		out["description"] = f.Description
	}
	if len(f.Default) > 0 {
		out["default"] = f.Default
	}
	if f.Deprecated {
		out["deprecated"] = true
	}
	if f.Secret {
		out["writeOnly"] = true
	}
	if len(f.Examples) > 0 {
		out["examples"] = f.Examples
	}
	return out
}

func kindOf(f rpc.Field, refs string) Schema {
	switch f.Kind {
	case kindArray:
		return Schema{"type": "array", "items": typeOf(f, refs)}
	case kind2DArray:
		return Schema{"type": "array", "items": Schema{"type": "array", "items": typeOf(f, refs)}}
	case kindMap:
		return Schema{"type": "object", "additionalProperties": typeOf(f, refs)}
	}
	return typeOf(f, refs)
}

// typeOf is the schema of one value. A variable may stand for any.
func typeOf(f rpc.Field, refs string) Schema {
	if slices.Contains(rpc.ComponentTypes(), rpc.ComponentType(f.Type)) {
		return Schema{"$ref": refs + f.Type}
	}
	switch f.Type {
	case "string":
		options := slices.Clone(f.Options)
		for _, o := range f.AnnotatedOptions {
			options = append(options, o[0])
		}
		if len(options) > 0 && !f.Interpolated {
			return choice(options)
		}
		// A number is written without quotes as well.
		return Schema{"type": []string{"string", "number", "boolean"}}
	case "int":
		return number("integer", `^-?[0-9]+$`)
	case "float":
		return number("number", `^-?[0-9]*\.?[0-9]+([eE][-+]?[0-9]+)?$`)
	case "bool":
		return number("boolean", `^(true|false)$`)
	case "object":
		return object(f.Children, refs)
	}
	return Schema{}
}

// number is a value that may be written as a text as well.
func number(typ, text string) Schema {
	return Schema{"type": []string{typ, "string"}, "pattern": text + "|" + holdsVariable}
}

// choice is one of some words.
func choice(words []string) Schema {
	return Schema{"anyOf": []Schema{{"enum": words}, {"type": "string", "pattern": holdsVariable}}}
}

func object(children []rpc.Field, refs string) Schema {
	out := Schema{"type": "object"}
	if len(children) == 0 {
		return out
	}
	properties, required := Schema{}, []string{}
	for _, child := range children {
		properties[child.Name] = schemaOf(child, refs)
		if isRequired(child) {
			required = append(required, child.Name)
		}
	}
	out["properties"], out["additionalProperties"] = properties, false
	if len(required) > 0 {
		out["required"] = required
	}
	return out
}

// isRequired says that a field has to be there: neither it has a default, nor has
// all that is in it. The engine takes a list or a map that is not there for an empty
// one, and does without what is deprecated.
func isRequired(f rpc.Field) bool {
	switch {
	case f.Optional, f.Deprecated, len(f.Default) > 0, slices.Contains([]string{kindArray, kind2DArray, kindMap}, f.Kind):
		return false
	case len(f.Children) == 0:
		return true
	}
	return slices.ContainsFunc(f.Children, isRequired)
}

// pointer escapes a name for a JSON pointer in a URL.
func pointer(name string) string {
	return url.PathEscape(strings.NewReplacer("~", "~0", "/", "~1").Replace(name))
}
