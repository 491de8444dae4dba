package runner

import (
	"context"
	"errors"
	"net"
	"os"

	"penstock/rpc"
	"penstock/rpc/handover"
	"penstock/runner/share"
)

var errJoinsNot = errors.New("there is no stream yet")

// Share implements rpc.Runner.
func (s *server) Share(_ context.Context, resources []rpc.Resource) ([]rpc.Refusal, error) {
	stream, err := s.current()
	if err != nil {
		return nil, err
	}
	return stream.Share(resources)
}

// held are the sockets that the supervisor gives the runner. It implements
// handover.Holder.
type held struct {
	*ownListener
	server *server
}

// Join implements handover.Holder: the connection leads from a stream to the
// resource host, of which this runner is one end.
func (h held) Join(fd int, name string) error {
	file := os.NewFile(uintptr(fd), "share")
	defer file.Close()
	conn, err := net.FileConn(file)
	if err != nil {
		return err
	}
	stream := h.server.stream.Load()
	switch {
	case stream == nil:
		err = errJoinsNot
	case stream.Hosts():
		go func() { _ = stream.Serve(conn, name) }()
		return nil
	default:
		if err = h.server.link.Join(conn); errors.Is(err, share.ErrConnected) {
			err = handover.ErrJoined
		}
	}
	if err != nil {
		_ = conn.Close()
	}
	return err
}

// tellWanting tells the supervisor of each connection to the resource host that
// is missing, until the stream has ended.
func (s *server) tellWanting(ctx context.Context, emit func(rpc.Event) error) error {
	var told uint64
	for {
		number, news := s.link.Wanting()
		if number > told {
			told = number
			if err := emit(rpc.Event{Wanting: true}); err != nil {
				return err
			}
		}
		select {
		case <-news:
		case <-ctx.Done():
			return ctx.Err()
		case <-s.ended:
			return nil
		}
	}
}
