package store

import "time"

// KeepRevisions is how many revisions of a stream are kept, its current one
// included.
const KeepRevisions = 10

// Origin says who put a stream or a resource into force.
type Origin string

const (
	// OriginAPI is a change that came through the API.
	OriginAPI Origin = "api"
	// OriginFile is a file that `penstock serve` was given.
	OriginFile Origin = "file"
)

// State is everything the store holds, but for the older revisions.
type State struct {
	// Streams by id.
	Streams map[string]Stream
	// Runners by the id of their stream.
	Runners map[string]Runner
	// Resources by id.
	Resources map[string]Resource
	// Declared by "stream/ID" or "resource/ID".
	Declared map[string]Declaration
	// Generation is that of the last change of a resource; 0 before the first.
	Generation uint64
}

// Definition is what a client or a file says a stream shall be.
type Definition struct {
	// Config as posted, byte for byte.
	Config []byte `json:"config,omitempty"`
	// Chilled streams are not linted.
	Chilled bool `json:"chilled,omitempty"`
	// AllowTests permits a `tests` block in the config.
	AllowTests bool `json:"allow_tests,omitempty"`
}

// Stream is one stream and what is desired of it.
type Stream struct {
	// ID is 1 to 1024 bytes, without a zero byte.
	ID string `json:"-"`
	Definition
	// Revision counts the definitions the stream has had.
	Revision uint64 `json:"revision"`
	// Paused streams have no runner.
	Paused bool `json:"paused,omitempty"`
	// LogLevel is that of the stream's runner; "" is the default.
	LogLevel string `json:"log_level,omitempty"`
	Origin   Origin `json:"origin,omitempty"`
	// ChangedAt is when the stream was last changed; kept in UTC, to the nanosecond.
	ChangedAt time.Time `json:"changed_at"`
	// Outcome is nil until the stream has finished.
	Outcome *Outcome `json:"outcome,omitempty"`
	// UID is the user that the stream's runners have; 0 when it has none of its
	// own.
	UID uint32 `json:"uid,omitempty"`
}

// Outcome is how a stream ended by itself.
type Outcome struct {
	// Error is "" when it ended well.
	Error string `json:"error,omitempty"`
	// At is kept in UTC, to the nanosecond.
	At     time.Time     `json:"at"`
	RanFor time.Duration `json:"ran_for"`
	// Metrics are its last ones, opaque to the store.
	Metrics []byte `json:"metrics,omitempty"`
}

// Revision is a definition that a stream has or had.
type Revision struct {
	Number uint64 `json:"-"`
	Definition
	Origin Origin `json:"origin,omitempty"`
	// At is the ChangedAt of the stream when the revision was put.
	At time.Time `json:"at"`
}

// Runner is what it takes to find a stream's process again and to tell it
// from any other.
type Runner struct {
	PID int `json:"pid"`
	// StartTime is in clock ticks since boot: field 22 of /proc/PID/stat.
	StartTime uint64 `json:"start_time"`
	BootID    string `json:"boot_id"`
	// Dir is the name of its bundle folder below DATA/run.
	Dir string `json:"dir"`
	// Socket is the plugin socket's file name within Dir.
	Socket string `json:"socket"`
	UID    uint32 `json:"uid"`
	// Runner is the name of the runner that it is; empty is the core runner.
	Runner   string `json:"runner,omitempty"`
	Version  string `json:"version"`
	Protocol int    `json:"protocol"`
	// Instance is the random token it was prepared with.
	Instance string `json:"instance"`
	// Revision of the stream that it runs.
	Revision uint64 `json:"revision"`
	// Generation of the resources that it was prepared with.
	Generation uint64 `json:"generation"`
	HTTPSocket string `json:"http_socket,omitempty"`
	// Endpoints are the patterns of the stream's own HTTP endpoints.
	Endpoints []string `json:"endpoints,omitempty"`
	// Prefix says whether Endpoints lie below the stream's id.
	Prefix bool `json:"prefix,omitempty"`
	// StartedAt is kept in UTC, to the nanosecond.
	StartedAt time.Time `json:"started_at"`
	Restarts  uint64    `json:"restarts,omitempty"`
	// GaveUp says that there is no runner because the stream's policy allows no
	// further start; PID is 0 then.
	GaveUp bool `json:"gave_up,omitempty"`
	// Idle says that there is no runner because nobody calls the stream; PID is 0
	// then, and Endpoints are those of its last runner.
	Idle bool `json:"idle,omitempty"`
	// Restless is why the stream has to run though nobody calls it.
	Restless string `json:"restless,omitempty"`
	// LastExit is how the stream's runner before this one ended, opaque to the
	// store.
	LastExit []byte `json:"last_exit,omitempty"`
	// Confinement names what it is confined in, and Limits are those in force;
	// both are opaque to the store.
	Confinement string `json:"confinement,omitempty"`
	Limits      []byte `json:"limits,omitempty"`
}

// Resource is a config that streams refer to by its id.
type Resource struct {
	Type string `json:"type"`
	// ID is 1 to 1024 bytes, without a zero byte.
	ID string `json:"-"`
	// Config as posted, byte for byte.
	Config []byte `json:"config,omitempty"`
	Origin Origin `json:"origin,omitempty"`
	// Generation is the one this change of the resources began.
	Generation uint64 `json:"generation"`
}

// Declaration is a file that was put into force.
type Declaration struct {
	Path string `json:"path"`
	// Hash of the file's content, as it was then.
	Hash string `json:"hash"`
}
