package rpc

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"penstock/rpc/runnerpb"
)

func TestPrepareRequestRoundTrip(t *testing.T) {
	want := PrepareRequest{
		StreamID:        "foo",
		Instance:        "token",
		LogLevel:        "debug",
		LogMegabytes:    3,
		Config:          []byte("input: {}\n"),
		Resources:       []Resource{{Type: "cache", ID: "c", Config: []byte("label: c"), Check: true, Posted: []byte("{}")}},
		Environment:     map[string]string{"A": "1", "BYTES": "\xff\xfe"},
		Chilled:         true,
		ResourcesOnly:   true,
		AllowTests:      true,
		PrefixEndpoints: true,
		LogDir:          "/logs",
		OrphanTimeout:   3 * time.Second,
		Policy: ComponentPolicy{DenyDangerous: true, Classes: map[string]ClassPolicy{
			ClassProcessors: {Allow: []string{"subprocess"}, Deny: []string{"*"}},
			ClassFunctions:  {Deny: []string{"random_int"}},
		}},
		MaxSeries: 100,
		Templates: []Template{{Path: "t.yaml", Text: []byte("name: t")}},
	}
	wire, err := proto.Marshal(prepareRequestToProto(want))
	require.NoError(t, err)
	var back runnerpb.PrepareRequest
	require.NoError(t, proto.Unmarshal(wire, &back))
	assert.Equal(t, want, prepareRequestFromProto(&back))
}

func TestReadinessRoundTrip(t *testing.T) {
	want := Readiness{
		Ready:       true,
		Connections: []Connection{{Path: "input", Label: "l", Connected: true, Error: "e"}},
		Warnings:    []string{"too much", "too little"},
		LastError:   &LoggedError{At: time.Unix(1, 2).UTC(), Path: "root.input", Message: "it failed"},
		Own:         &OwnListener{InFlight: 3, Quiet: 1500 * time.Millisecond},
	}
	assert.Equal(t, want, readinessFromProto(readinessToProto(want)))
}

func TestPolicyThatAllowsEverything(t *testing.T) {
	for _, p := range []ComponentPolicy{
		{},
		{Classes: map[string]ClassPolicy{ClassInputs: {}, ClassOutputs: {Allow: []string{"subprocess"}}}},
	} {
		assert.True(t, p.Zero(), "%+v", p)
	}
	for _, p := range []ComponentPolicy{
		{DenyDangerous: true},
		{Classes: map[string]ClassPolicy{ClassInputs: {}, ClassOutputs: {Deny: []string{"file"}}}},
	} {
		assert.False(t, p.Zero(), "%+v", p)
	}
}

func TestRejectionRoundTrip(t *testing.T) {
	for _, want := range []*Rejection{
		{Kind: RejectLint, Lints: []Lint{{Line: 1, Column: 2, Message: "m", Resource: "r"}}},
		{Kind: RejectBuild, Message: "no"},
		{Kind: RejectAddressInUse, Message: "busy", Address: "[::]:80"},
	} {
		assert.Equal(t, want, rejectionFromProto(rejectionToProto(want)))
	}
	assert.Equal(t, "lint error: (1,2) m", (&Rejection{Kind: RejectLint, Lints: []Lint{{1, 2, "m", ""}}}).Error())
	assert.Equal(t, "lint error: (1,2) m (and 1 more)",
		(&Rejection{Kind: RejectLint, Lints: []Lint{{1, 2, "m", ""}, {3, 4, "n", ""}}}).Error())
}

// TestTextThatIsNotUTF8 guards against one bad byte, from a message that a
// stream read, losing the whole answer.
func TestTextThatIsNotUTF8(t *testing.T) {
	metrics := []Metric{
		{Name: "a\xff", Labels: map[string]string{"k\xff": "v\xff"}, Number: 7},
		{Name: "t", Labels: map[string]string{}, Timing: &Timing{P50: 1}},
	}
	for name, msg := range map[string]proto.Message{
		"event":     eventToProto(Event{Finished: &Finished{Error: "e\xff", Metrics: metrics}}),
		"ready":     readinessToProto(Readiness{Connections: []Connection{{Error: "e\xff"}}, Warnings: []string{"w\xff"}, LastError: &LoggedError{Message: "m\xff"}}),
		"rejection": rejectionToProto(&Rejection{Kind: RejectLint, Message: "m\xff", Lints: []Lint{{Message: "l\xff"}}}),
		"identity":  identityToProto(Identity{StreamID: "s\xff", Instance: "i\xff", Version: "v\xff"}),
	} {
		_, err := proto.Marshal(msg)
		assert.NoError(t, err, name)
	}
	assert.Nil(t, eventFromProto(eventToProto(Event{})).Finished)
}

func TestMetricsRoundTrip(t *testing.T) {
	want := []Metric{
		{Name: "c", Kind: KindCounter, Labels: map[string]string{"k": "v"}, Number: 7},
		{Name: "g", Kind: KindGauge, Labels: map[string]string{}, Number: -1},
		{Name: "t", Kind: KindTimer, Labels: map[string]string{}, Timing: &Timing{P50: 1, P90: 2, P99: 3, Count: 4, Sum: 5.5}},
		{Name: "unsaid", Labels: map[string]string{}},
	}
	wire, err := proto.Marshal(eventToProto(Event{Finished: &Finished{Error: "e", Metrics: want}}))
	require.NoError(t, err)
	var back runnerpb.EventsResponse
	require.NoError(t, proto.Unmarshal(wire, &back))
	got := eventFromProto(&back).Finished
	require.NotNil(t, got)
	assert.Equal(t, "e", got.Error)
	for i, m := range got.Metrics {
		if m.Labels == nil {
			got.Metrics[i].Labels = map[string]string{}
		}
	}
	assert.Equal(t, want, got.Metrics)
}

func TestIdentityRoundTrip(t *testing.T) {
	for _, phase := range []Phase{PhaseFresh, PhasePrepared, PhaseRunning, PhaseEnded, PhaseLeaving} {
		want := Identity{StreamID: "s", Instance: "i", Version: "v", Phase: phase, CanAssume: true, PID: 1 << 30}
		assert.Equal(t, want, identityFromProto(identityToProto(want)))
	}
	assert.Equal(t, PhaseFresh, identityFromProto(&runnerpb.IdentifyResponse{}).Phase, "of a runner that does not say")
}

func TestAssignmentRoundTrip(t *testing.T) {
	for _, want := range []Assignment{
		{Environment: map[string]string{}},
		{
			User: &User{UID: 200001, GID: 200002}, WorkDir: "/w", Environment: map[string]string{"A": "b"},
			Limits: Limits{MemoryBytes: 1 << 40, CPUs: 3},
		},
	} {
		wire, err := proto.Marshal(assignmentToProto(want))
		require.NoError(t, err)
		var back runnerpb.AssumeRequest
		require.NoError(t, proto.Unmarshal(wire, &back))
		got := assignmentFromProto(&back)
		if got.Environment == nil {
			got.Environment = map[string]string{}
		}
		assert.Equal(t, want, got)
	}
}
