package calls

import (
	"crypto/rand"
	"net/http"
	"regexp"
	"time"
)

// The headers of an asynchronous call. Those of a request are taken from it:
// the stream sees IDHeader and AttemptHeader alone, and only from us.
const (
	// AsyncHeader asks for a call to be asynchronous (true), or not (false).
	AsyncHeader = "X-Penstock-Async"
	// CallbackHeader is where the result is to be sent.
	CallbackHeader = "X-Penstock-Callback-Url"
	// IDHeader is the call's id.
	IDHeader = "X-Penstock-Call-Id"
	// AttemptHeader is how often the call may have been carried out, this time
	// included.
	AttemptHeader = "X-Penstock-Attempt"
	// StatusHeader is the Status of a call, with its result.
	StatusHeader = "X-Penstock-Call-Status"
	// DurationHeader is how long the stream took to answer, in seconds.
	DurationHeader = "X-Penstock-Duration-Seconds"
)

// Status is where a call is in its life.
type Status string

const (
	// Queued waits for its stream, for its turn, or for its next attempt.
	Queued Status = "queued"
	// Running is being carried out.
	Running Status = "running"
	// Done was answered by the stream, whatever it said.
	Done Status = "done"
	// Failed was not, and will not be.
	Failed Status = "failed"
)

// Statuses are all there are.
var Statuses = []Status{Queued, Running, Done, Failed}

// ended says that nothing more comes of the call itself.
func (s Status) ended() bool { return s == Done || s == Failed }

// Call is what there is to know of a call.
type Call struct {
	ID     string `json:"id"`
	Status Status `json:"status"`
	// Location is where this is answered, below the server's root.
	Location string `json:"location"`
	Stream   string `json:"stream"`
	Method   string `json:"method"`
	// Path is that of the request, with its query.
	Path       string    `json:"path"`
	AcceptedAt time.Time `json:"accepted_at"`
	// Attempts is how often it may have been carried out.
	Attempts int `json:"attempts"`
	// NextAttemptAt is set while it waits after a failure.
	NextAttemptAt *time.Time `json:"next_attempt_at,omitempty"`
	// FinishedAt is when it was done or failed.
	FinishedAt *time.Time `json:"finished_at,omitempty"`
	// ExpiresAt is when it will be forgotten; unknown before its callback has
	// come to an end.
	ExpiresAt *time.Time `json:"expires_at,omitempty"`
	// Reason is why it failed, or why its last attempt did.
	Reason string `json:"reason,omitempty"`
	// Result is set once it is done.
	Result *Result `json:"result,omitempty"`
	// Callback is set where one was asked for.
	Callback *Callback `json:"callback,omitempty"`
}

// Result is what the stream answered, but for its headers and body.
type Result struct {
	// StatusCode is that of HTTP.
	StatusCode int `json:"status_code"`
	// Bytes is the length of the body.
	Bytes           int64   `json:"bytes"`
	DurationSeconds float64 `json:"duration_seconds"`
	// Location is where the answer itself is; empty once it was dropped.
	Location string `json:"location,omitempty"`
}

// CallbackStatus is what became of a callback.
type CallbackStatus string

const (
	// CallbackPending has not been delivered.
	CallbackPending CallbackStatus = "pending"
	// CallbackDelivered was answered with 2xx; the result was dropped.
	CallbackDelivered CallbackStatus = "delivered"
	// CallbackFailed was given up; the result can be fetched.
	CallbackFailed CallbackStatus = "failed"
)

// Callback is the delivery of a result.
type Callback struct {
	URL      string         `json:"url"`
	Status   CallbackStatus `json:"status"`
	Attempts int            `json:"attempts"`
	// NextAttemptAt is set while it waits after a failure.
	NextAttemptAt *time.Time `json:"next_attempt_at,omitempty"`
	// Reason is why its last attempt failed.
	Reason string `json:"reason,omitempty"`
}

// Request is what a stream is asked.
type Request struct {
	Method string
	// Path is what the request line has: the path and its query.
	Path string
	// Host is that of the request.
	Host   string
	Header http.Header
	Body   []byte
	// Callback is where the result is to be sent; empty for nowhere.
	Callback string
}

// Answer is what a stream answered.
type Answer struct {
	Header http.Header
	Body   []byte
}

// Query says which calls are listed. The zero value of a field asks for all.
type Query struct {
	Stream string
	Status Status
	// Before is the id of a call: those that came before it are listed.
	Before string
	// Limit is how many at most.
	Limit int
}

// idForm is what rand.Text makes.
var idForm = regexp.MustCompile(`^[A-Z2-7]{26}$`)

// IsID says whether text has the form of a call's id.
func IsID(text string) bool { return idForm.MatchString(text) }

// newID is one that nobody guesses.
func newID() string { return rand.Text() }

func locationOf(id string) string { return "/calls/" + id }

// record is what is kept of a call, beside its request and its answer.
type record struct {
	Call Call `json:"call"`
	// Failures are the attempts that count.
	Failures int `json:"failures,omitempty"`
	// Size is what the request takes, and what the answer does.
	RequestSize int64 `json:"request_size"`
	AnswerSize  int64 `json:"answer_size,omitempty"`
}

// size is what the call takes of the room that there is.
func (r *record) size() int64 {
	return overhead + int64(len(r.Call.Path)) + r.RequestSize + r.AnswerSize
}

// overhead is what a call takes beside its bodies, in the file and in memory.
const overhead = 2 << 10
