package supervisor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"penstock/supervisor/calls"
	"penstock/supervisor/options"
)

// callable is how asynchronous calls are carried out.
type callable struct{ sup *Supervisor }

// Await implements calls.Streams.
func (c callable) Await(ctx context.Context, id string) error {
	st, err := c.sup.find(id)
	if err != nil {
		return c.absent(err)
	}
	for {
		news := *st.replicas.news.Load()
		v := st.seen.Load()
		// One that is being stopped answers, but had better not be asked anew.
		if st.active(v) || v.state == StateIdle {
			return nil
		}
		select {
		case <-v.superseded:
		case <-news:
		case <-st.gone:
			return c.absent(fmt.Errorf("stream %q: %w", id, ErrNotFound))
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// absent tells a stream that was deleted from one that ends with the supervisor.
func (c callable) absent(err error) error {
	if c.sup.root.Err() == nil && errors.Is(err, ErrNotFound) {
		return fmt.Errorf("%w: %w", calls.ErrNoStream, err)
	}
	return err
}

// Call implements calls.Streams.
func (c callable) Call(ctx context.Context, id string, r *http.Request) (*http.Response, error) {
	function, err := c.sup.Function(ctx, id, Call{Method: r.Method, Arrived: time.Now()})
	switch {
	case errors.Is(err, ErrUnavailable), errors.Is(err, ErrClosed), errors.Is(err, ErrBusy):
		return nil, fmt.Errorf("%w: %w", calls.ErrDown, err)
	case err != nil:
		return nil, c.absent(err)
	}
	resp, err := function.RoundTrip(r)
	if err != nil {
		function.Release()
		return nil, err
	}
	resp.Body = &releasing{resp.Body, function.Release}
	return resp, nil
}

// releasing gives a function back with the end of its answer.
type releasing struct {
	io.ReadCloser
	release func()
}

// Close implements io.Closer. It is to be called once.
func (r *releasing) Close() error {
	defer r.release()
	return r.ReadCloser.Close()
}

// httpOptions are those of a stream.
func (s *Supervisor) httpOptions(id string) (options.HTTP, error) {
	st, err := s.find(id)
	if err != nil {
		return options.HTTP{}, err
	}
	return st.seen.Load().spec.options.HTTP, nil
}

// Asynchronous says whether a stream's config has calls be asynchronous that do
// not say themselves.
func (s *Supervisor) Asynchronous(id string) bool {
	// A stream that is not there is told of by whoever calls it.
	o, err := s.httpOptions(id)
	return err == nil && o.Async
}

// Submit keeps a call of a stream, which is carried out later. It returns once
// the call is on the disk. Where the call names no callback, the stream's is
// taken.
//
// Errors: ErrNotFound, ErrCallTooLarge, ErrCallback, ErrCallbackForbidden,
// *BusyError, ErrFull, ErrUnwritable, ErrCallsClosed.
func (s *Supervisor) Submit(id string, r calls.Request) (calls.Call, error) {
	o, err := s.httpOptions(id)
	if err != nil {
		return calls.Call{}, err
	}
	if r.Callback == "" {
		r.Callback = o.Callback
	}
	return s.calls.Submit(id, r)
}

// Call returns an asynchronous call, or ErrNoCall. One that has not ended is
// awaited until the context ends.
func (s *Supervisor) Call(ctx context.Context, id string) (calls.Call, error) {
	return s.calls.Get(ctx, id)
}

// CallAnswer returns what a stream answered to an asynchronous call. Its error
// wraps ErrNoCall, or ErrNoResult when it has not, or when that was delivered.
func (s *Supervisor) CallAnswer(id string) (calls.Call, calls.Answer, error) {
	return s.calls.Answer(id)
}

// Calls lists asynchronous calls, the newest first, and says whether there are
// more.
func (s *Supervisor) Calls(q calls.Query) (list []calls.Call, more bool, err error) {
	return s.calls.List(q)
}

// ForgetCall cancels an asynchronous call and drops its result. The error wraps
// ErrNoCall.
func (s *Supervisor) ForgetCall(id string) error { return s.calls.Forget(id) }

// MaxCallBody is the largest body of an asynchronous call, in bytes.
func (s *Supervisor) MaxCallBody() int { return int(s.cfg.Calls.MaxBody) }
