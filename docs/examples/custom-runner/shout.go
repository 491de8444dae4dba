package main

import (
	"bytes"
	"context"

	"github.com/redpanda-data/benthos/v4/public/service"
)

func init() {
	spec := service.NewConfigSpec().Stable().
		Summary("Makes the content of a message upper case, with a mark at its end.").
		Fields(
			service.NewStringField("mark").Default("!").Description("What is put at the end."),
			service.NewStringField("panic_on").Default("").Description("A message with this content ends the process, as a bug would."),
		)
	service.MustRegisterProcessor("shout", spec, newShout)
}

type shout struct{ mark, panicOn string }

func newShout(conf *service.ParsedConfig, _ *service.Resources) (_ service.Processor, err error) {
	s := &shout{}
	if s.mark, err = conf.FieldString("mark"); err != nil {
		return nil, err
	}
	s.panicOn, err = conf.FieldString("panic_on")
	return s, err
}

func (s *shout) Process(ctx context.Context, msg *service.Message) (service.MessageBatch, error) {
	content, err := msg.AsBytes()
	if err != nil {
		return nil, err
	}
	if s.panicOn != "" && string(content) == s.panicOn {
		// In a goroutine of its own: nothing above can recover from it.
		go func() { panic("shout: cannot shout " + s.panicOn) }()
		<-ctx.Done()
		return nil, ctx.Err()
	}
	msg.SetBytes(append(bytes.ToUpper(content), s.mark...))
	return service.MessageBatch{msg}, nil
}

func (s *shout) Close(context.Context) error { return nil }
