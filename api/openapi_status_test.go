package api

import (
	"encoding/json"
	"reflect"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"penstock/supervisor"
)

// The document has every key that a status can have, and none that it must
// have is missing from one.
func TestOpenAPIDescribesStatus(t *testing.T) {
	d := readOpenAPI(t)
	schema := d.resolve(t, object{"$ref": "#/components/schemas/Status"})
	var full supervisor.Status
	fill(reflect.ValueOf(&full).Elem())
	sparse := supervisor.Status{Connections: []supervisor.Connection{}, Warnings: []string{}}
	for name, status := range map[string]supervisor.Status{"full": full, "sparse": sparse} {
		t.Run(name, func(t *testing.T) {
			text, err := json.Marshal(status)
			require.NoError(t, err)
			var value any
			require.NoError(t, json.Unmarshal(text, &value))
			d.described(t, "status", value, schema)
		})
	}
}

// fill gives everything in a value another value than zero.
func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0))
	case reflect.Struct:
		if v.Type() == reflect.TypeOf(then) {
			v.Set(reflect.ValueOf(then))
			return
		}
		for i := range v.NumField() {
			fill(v.Field(i))
		}
	case reflect.String:
		v.SetString("x")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Float64:
		v.SetFloat(0.5)
	default:
		v.Set(reflect.ValueOf(1).Convert(v.Type()))
	}
}

// jsonTypes are the types of what encoding/json reads.
func jsonTypes(value any) []any {
	switch value := value.(type) {
	case nil:
		return []any{"null"}
	case bool:
		return []any{"boolean"}
	case string:
		return []any{"string"}
	case float64:
		if value == float64(int64(value)) {
			return []any{"integer", "number"}
		}
		return []any{"number"}
	case []any:
		return []any{"array"}
	}
	return []any{"object"}
}

// described says that a schema describes a value and all that is in it.
func (d openAPI) described(t *testing.T, at string, value any, schema object) {
	t.Helper()
	schema = d.resolve(t, schema)
	if choices, ok := schema["oneOf"].([]any); ok {
		for _, choice := range choices {
			if c := d.resolve(t, choice); (c["type"] == "null") == (value == nil) {
				d.described(t, at, value, c)
				return
			}
		}
		t.Errorf("%s: no schema is for %v", at, value)
		return
	}
	if kind, ok := schema["type"]; ok && !assert.Contains(t, jsonTypes(value), kind, at) {
		return
	}
	switch value := value.(type) {
	case []any:
		items, _ := schema["items"].(object)
		require.NotNil(t, items, at)
		for _, item := range value {
			d.described(t, at+"[]", item, items)
		}
	case map[string]any:
		properties, _ := schema["properties"].(object)
		for key, inside := range value {
			if assert.Contains(t, properties, key, at) {
				d.described(t, at+"."+key, inside, properties[key].(object))
			}
		}
		required, _ := schema["required"].([]any)
		for _, key := range required {
			assert.Contains(t, value, key, at)
		}
	}
}
