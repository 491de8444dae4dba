package engine

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/redpanda-data/benthos/v4/public/service"

	"penstock/rpc/sharepb"
)

// batchToProto makes a batch fit to leave the process: contents as bytes, with
// the metadata and the errors of the messages.
func batchToProto(batch service.MessageBatch) (*sharepb.Batch, error) {
	out := &sharepb.Batch{Messages: make([]*sharepb.Message, 0, len(batch))}
	for i, m := range batch {
		content, err := m.AsBytes()
		if err != nil {
			return nil, fmt.Errorf("message %d of the batch: %w", i, err)
		}
		message := &sharepb.Message{Content: content}
		if err := m.MetaWalkMut(func(key string, value any) error {
			if key == numberKey {
				return nil
			}
			meta, err := metaToProto(key, value)
			message.Metadata = append(message.Metadata, meta)
			return err
		}); err != nil {
			return nil, err
		}
		if failed := m.GetError(); failed != nil {
			message.Error = validText(failed.Error())
		}
		out.Messages = append(out.Messages, message)
	}
	return out, nil
}

func batchFromProto(batch *sharepb.Batch) service.MessageBatch {
	out := make(service.MessageBatch, 0, len(batch.GetMessages()))
	for _, message := range batch.GetMessages() {
		m := service.NewMessage(message.GetContent())
		for _, meta := range message.GetMetadata() {
			m.MetaSetMut(string(meta.GetKey()), metaFromProto(meta))
		}
		if text := message.GetError(); text != "" {
			m.SetError(errors.New(text))
		}
		out = append(out, m)
	}
	return out
}

func metaToProto(key string, value any) (*sharepb.Meta, error) {
	out := &sharepb.Meta{Key: []byte(key)}
	switch v := value.(type) {
	case string:
		out.Value = &sharepb.Meta_Text{Text: []byte(v)}
	case []byte:
		out.Value = &sharepb.Meta_Data{Data: v}
	case int64:
		out.Value = &sharepb.Meta_Integer{Integer: v}
	case float64:
		out.Value = &sharepb.Meta_Number{Number: v}
	case bool:
		out.Value = &sharepb.Meta_Truth{Truth: v}
	default:
		text, err := json.Marshal(v)
		if err != nil {
			return nil, fmt.Errorf("the metadata %q cannot leave the process: %w", key, err)
		}
		out.Value = &sharepb.Meta_Json{Json: text}
	}
	return out, nil
}

func metaFromProto(meta *sharepb.Meta) any {
	switch v := meta.GetValue().(type) {
	case *sharepb.Meta_Text:
		return string(v.Text)
	case *sharepb.Meta_Data:
		return v.Data
	case *sharepb.Meta_Integer:
		return v.Integer
	case *sharepb.Meta_Number:
		return v.Number
	case *sharepb.Meta_Truth:
		return v.Truth
	}
	in := json.NewDecoder(bytes.NewReader(meta.GetJson()))
	in.UseNumber()
	var value any
	if in.Decode(&value) != nil {
		return nil
	}
	return value
}

// verdictOf is what has become of a batch, by the error with which it was
// acknowledged. index finds its messages in the error.
func verdictOf(err error, index *service.Indexer) *sharepb.Verdict {
	if err == nil {
		return &sharepb.Verdict{}
	}
	out := &sharepb.Verdict{Error: textOrSo(err)}
	var single *service.BatchError
	if errors.As(err, &single) && single.IndexedErrors() > 0 {
		single.WalkMessagesIndexedBy(index, func(i int, _ *service.Message, err error) bool {
			if err != nil && i >= 0 {
				out.Failures = append(out.Failures, &sharepb.Failure{Index: uint32(i), Error: textOrSo(err)})
			}
			return true
		})
	}
	return out
}

// errorOfVerdict is verdictOf's error, for the batch that was given away.
func errorOfVerdict(v *sharepb.Verdict, batch service.MessageBatch) error {
	if v.GetError() == "" {
		return nil
	}
	err := errors.New(v.GetError())
	if len(v.GetFailures()) == 0 {
		return err
	}
	single := service.NewBatchError(batch, err)
	for _, f := range v.GetFailures() {
		if int(f.GetIndex()) < len(batch) {
			single = single.Failed(int(f.GetIndex()), errors.New(f.GetError()))
		}
	}
	return single
}

// textOrSo is an error's text, which must not be empty.
func textOrSo(err error) string {
	if text := validText(err.Error()); text != "" {
		return text
	}
	return "the batch was refused"
}

func validText(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }
