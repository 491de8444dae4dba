package api

import (
	"context"
	"net/http"

	"penstock/supervisor"
	"penstock/supervisor/calls"
)

// callID is the id of the only asynchronous call there is.
const callID = "AAAAAAAAAAAAAAAAAAAAAAAAAA"

// callOf is that call.
func callOf(status calls.Status) calls.Call {
	call := calls.Call{
		ID: callID, Status: status, Location: "/calls/" + callID, Stream: "foo",
		Method: "POST", Path: "/foo/post", AcceptedAt: then, Attempts: 1,
	}
	if status == calls.Done {
		call.FinishedAt, call.ExpiresAt = &then, &then
		call.Result = &calls.Result{StatusCode: 200, Bytes: 2, DurationSeconds: 0.25, Location: call.Location + "/result"}
	}
	return call
}

// maxCallBody is the largest body of a call.
const maxCallBody = 1000

func (r *recorder) MaxCallBody() int { return maxCallBody }

func (r *recorder) Asynchronous(string) bool { return r.lived().async }

func (r *recorder) Submit(stream string, request calls.Request) (calls.Call, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return calls.Call{}, r.err
	}
	r.did, r.submitted = "submit "+stream, request
	return callOf(calls.Queued), nil
}

func (r *recorder) setCall(call calls.Call) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.life.call = call
}

func (r *recorder) Call(_ context.Context, id string) (calls.Call, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return calls.Call{}, r.err
	}
	if id != r.life.call.ID {
		return calls.Call{}, supervisor.ErrNoCall
	}
	return r.life.call, nil
}

func (r *recorder) CallAnswer(id string) (calls.Call, calls.Answer, error) {
	call, err := r.Call(context.Background(), id)
	if err == nil && (call.Result == nil || call.Result.Location == "") {
		err = supervisor.ErrNoResult
	}
	return call, calls.Answer{Header: http.Header{"Content-Type": {"text/plain"}, "X-Of-Stream": {"a", "b"}}, Body: []byte("OK")}, err
}

func (r *recorder) Calls(q calls.Query) (list []calls.Call, more bool, err error) {
	if q.Before != "" && q.Before != callID {
		return nil, false, supervisor.ErrNoCall
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return []calls.Call{r.life.call}, q.Limit == 1, r.err
}

func (r *recorder) ForgetCall(id string) error {
	_, err := r.Call(context.Background(), id)
	return err
}
