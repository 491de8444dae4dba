package configs

import (
	"encoding"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"time"

	"gopkg.in/yaml.v3"
)

// unmarshaler returns the field as one that reads its own text, and whether it
// does. Such a field is one value, also when it is a struct.
func unmarshaler(field reflect.Value) (encoding.TextUnmarshaler, bool) {
	own, ok := field.Addr().Interface().(encoding.TextUnmarshaler)
	return own, ok
}

// assignValue puts one value, or a list of them, into one field. Its errors
// follow the key, and come with the node that is at fault.
func assignValue(field reflect.Value, node *yaml.Node) (*yaml.Node, error) {
	if field.Kind() != reflect.Slice {
		return node, assignScalar(field, node)
	}
	if node.Kind != yaml.SequenceNode {
		return node, errors.New("takes a list, such as [a, b]; [] is an empty one")
	}
	// An empty list is nil, as it is in the defaults.
	list := reflect.Zero(field.Type())
	for i, item := range node.Content {
		value := reflect.New(field.Type().Elem()).Elem()
		if isNull(item) {
			return item, fmt.Errorf("has nothing as its item %d", i+1)
		}
		if err := assignScalar(value, item); err != nil {
			return item, fmt.Errorf("item %d %w", i+1, err)
		}
		list = reflect.Append(list, value)
	}
	field.Set(list)
	return node, nil
}

// assignScalar puts one plain value into one field. Its errors follow the key.
func assignScalar(field reflect.Value, node *yaml.Node) error {
	if node.Kind != yaml.ScalarNode {
		return errors.New("takes one plain value, not a list, a mapping or an alias")
	}
	text := node.Value
	if own, ok := unmarshaler(field); ok {
		if err := own.UnmarshalText([]byte(text)); err != nil {
			return fmt.Errorf("is not valid: %w", err)
		}
		return nil
	}
	switch value := field.Addr().Interface().(type) {
	case *time.Duration:
		d, err := time.ParseDuration(text)
		if err != nil {
			return fmt.Errorf("is %q: it must be a duration with its unit, such as 500ms or 20s", text)
		}
		*value = d
	case *bool:
		if node.Tag != "!!bool" || node.Decode(value) != nil {
			return fmt.Errorf("is %q: it must be true or false", text)
		}
	case *int:
		n, err := strconv.Atoi(text)
		if err != nil {
			return fmt.Errorf("is %q: it must be a whole number", text)
		}
		*value = n
	case *float64:
		n, err := strconv.ParseFloat(text, 64)
		if err != nil || math.IsNaN(n) || math.IsInf(n, 0) {
			return fmt.Errorf("is %q: it must be a number, such as 0.5", text)
		}
		*value = n
	default:
		if field.Kind() != reflect.String {
			return fmt.Errorf("cannot be set: the server does not read values of type %s", field.Type())
		}
		field.SetString(text)
	}
	return nil
}
