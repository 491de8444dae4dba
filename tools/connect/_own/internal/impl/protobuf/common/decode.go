package common

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/redpanda-data/benthos/v4/public/service"
)

// ProtobufDecoder reads messages of one type.
type ProtobufDecoder interface {
	// WithDecoded calls cb with the message that buf holds. The message is
	// cb's until it returns.
	WithDecoded(buf []byte, cb func(msg proto.Message) error) error
}

// ProfilingOptions are of no effect here.
type ProfilingOptions struct{}

// DefaultProfilingOptions are all there are.
var DefaultProfilingOptions ProfilingOptions

// ToMessageFn puts a protobuf message into a message of the stream.
type ToMessageFn = func(protoreflect.Message, protojson.MarshalOptions, *service.Message) error

type dynamicDecoder struct {
	of protoreflect.MessageDescriptor
}

// NewHyperPbDecoder is the decoder that upstream's callers ask for. It reads by
// the reflection of the protobuf module, not by the compiler of that name.
func NewHyperPbDecoder(of protoreflect.MessageDescriptor, _ ProfilingOptions) ProtobufDecoder {
	return dynamicDecoder{of}
}

func (d dynamicDecoder) WithDecoded(buf []byte, cb func(msg proto.Message) error) error {
	msg := dynamicpb.NewMessage(d.of)
	if err := proto.Unmarshal(buf, msg); err != nil {
		return fmt.Errorf("decoding protobuf message %q: %w", d.of.FullName(), err)
	}
	return cb(msg)
}

// ToMessageSlow sets the content to the message as JSON.
func ToMessageSlow(msg protoreflect.Message, opts protojson.MarshalOptions, to *service.Message) error {
	text, err := opts.Marshal(msg.Interface())
	if err != nil {
		return fmt.Errorf("writing protobuf message %q as JSON: %w", msg.Descriptor().FullName(), err)
	}
	to.SetBytes(text)
	return nil
}

// ToMessageFast sets the content to the message as a structure. It is that of
// the JSON, except that timestamps, bytes, 64 bit integers and floats without a
// JSON form stay what they are, and an enum number without a name becomes the
// enum's first.
func ToMessageFast(msg protoreflect.Message, opts protojson.MarshalOptions, to *service.Message) error {
	value, err := encoder{opts}.message(msg)
	if err != nil {
		return fmt.Errorf("reading protobuf message %q: %w", msg.Descriptor().FullName(), err)
	}
	to.SetStructuredMut(value)
	return nil
}
