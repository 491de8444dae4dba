package common

import (
	"encoding/json"
	"slices"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// encoder makes structures of Go values out of protobuf messages.
type encoder struct{ opts protojson.MarshalOptions }

func (e encoder) message(m protoreflect.Message) (any, error) {
	of := m.Descriptor()
	if of.FullName().Parent() == "google.protobuf" {
		switch of.Name() {
		case "Timestamp":
			seconds, nanos := m.Get(of.Fields().ByName("seconds")), m.Get(of.Fields().ByName("nanos"))
			return time.Unix(seconds.Int(), nanos.Int()).UTC(), nil
		case "DoubleValue", "FloatValue", "Int64Value", "UInt64Value", "Int32Value", "UInt32Value", "BoolValue", "StringValue", "BytesValue":
			field := of.Fields().ByName("value")
			return e.single(field, m.Get(field))
		case "Any", "Duration", "FieldMask", "ListValue", "Struct", "Value":
			text, err := e.opts.Marshal(m.Interface())
			if err != nil {
				return nil, err
			}
			var value any
			err = json.Unmarshal(text, &value)
			return value, err
		}
	}
	object := map[string]any{}
	var failed error
	m.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		object[e.name(field)], failed = e.field(field, value)
		return failed == nil
	})
	if e.opts.EmitUnpopulated || e.opts.EmitDefaultValues {
		for i := range of.Fields().Len() {
			field := of.Fields().Get(i)
			switch {
			case failed != nil || m.Has(field) || field.ContainingOneof() != nil:
			case !field.HasPresence():
				object[e.name(field)], failed = e.field(field, m.Get(field))
			case e.opts.EmitUnpopulated:
				object[e.name(field)] = nil
			}
		}
	}
	return object, failed
}

func (e encoder) name(field protoreflect.FieldDescriptor) string {
	switch {
	case field.IsExtension():
		return "[" + string(field.FullName()) + "]"
	case e.opts.UseProtoNames:
		return field.TextName()
	}
	return field.JSONName()
}

func (e encoder) field(field protoreflect.FieldDescriptor, value protoreflect.Value) (any, error) {
	switch {
	case field.IsList():
		list := make([]any, value.List().Len())
		for i := range list {
			var err error
			if list[i], err = e.single(field, value.List().Get(i)); err != nil {
				return nil, err
			}
		}
		return list, nil
	case field.IsMap():
		object := make(map[string]any, value.Map().Len())
		var failed error
		value.Map().Range(func(key protoreflect.MapKey, value protoreflect.Value) bool {
			object[key.String()], failed = e.single(field.MapValue(), value)
			return failed == nil
		})
		return object, failed
	}
	return e.single(field, value)
}

// single encodes a value that is neither a list nor a map.
func (e encoder) single(field protoreflect.FieldDescriptor, value protoreflect.Value) (any, error) {
	switch field.Kind() {
	case protoreflect.MessageKind, protoreflect.GroupKind:
		return e.message(value.Message())
	case protoreflect.EnumKind:
		return e.enum(field.Enum(), value.Enum()), nil
	case protoreflect.BytesKind:
		return slices.Clone(value.Bytes()), nil
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		return value.Int(), nil
	case protoreflect.FloatKind:
		return value.Float(), nil
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return value.Uint(), nil
	}
	return value.Interface(), nil
}

func (e encoder) enum(of protoreflect.EnumDescriptor, number protoreflect.EnumNumber) any {
	if of.FullName() == "google.protobuf.NullValue" {
		return nil
	}
	if e.opts.UseEnumNumbers {
		return int64(number)
	}
	if known := of.Values().ByNumber(number); known != nil {
		return string(known.Name())
	}
	return string(of.Values().Get(0).Name())
}
