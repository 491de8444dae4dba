package share

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

// maxElements bounds the items, messages, metadata and failures of a request
// together. Each takes two bytes on its way, and a hundred in memory.
const maxElements = 1 << 20

// nested are the fields of a request that repeat, by their numbers in share.proto,
// with those within them; counted ones are elements.
type nested struct {
	counted bool
	fields  map[protowire.Number]nested
}

var requestFields = nested{fields: map[protowire.Number]nested{
	7: {counted: true},
	8: {fields: map[protowire.Number]nested{
		1: {counted: true, fields: map[protowire.Number]nested{2: {counted: true}}},
	}},
	10: {fields: map[protowire.Number]nested{2: {counted: true}}},
}}

// few refuses an encoded request of too many elements before it is decoded.
func few(request []byte) error {
	if n := requestFields.elements(request); n > maxElements {
		return fmt.Errorf("a request has %d elements, which are more than the %d there may be: make smaller batches", n, maxElements)
	}
	return nil
}

// elements counts what is there. What is no message has an end where it is none.
func (n nested) elements(message []byte) (count int) {
	for len(message) > 0 {
		number, typ, size := protowire.ConsumeTag(message)
		if size < 0 {
			return count
		}
		message = message[size:]
		field, known := n.fields[number]
		if !known || typ != protowire.BytesType {
			if size = protowire.ConsumeFieldValue(number, typ, message); size < 0 {
				return count
			}
			message = message[size:]
			continue
		}
		value, size := protowire.ConsumeBytes(message)
		if size < 0 {
			return count
		}
		message = message[size:]
		if field.counted {
			count++
		}
		count += field.elements(value)
	}
	return count
}
