package rpc

import (
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"penstock/rpc/runnerpb"
)

func prepareRequestToProto(r PrepareRequest) *runnerpb.PrepareRequest {
	out := &runnerpb.PrepareRequest{
		Config:          r.Config,
		ResourcesOnly:   r.ResourcesOnly,
		StreamId:        r.StreamID,
		Instance:        r.Instance,
		LogLevel:        r.LogLevel,
		LogMegabytes:    int32(r.LogMegabytes),
		Environment:     make(map[string][]byte, len(r.Environment)),
		Chilled:         r.Chilled,
		AllowTests:      r.AllowTests,
		PrefixEndpoints: r.PrefixEndpoints,
		LogDir:          r.LogDir,
		OrphanTimeout:   durationpb.New(r.OrphanTimeout),
		Policy:          policyToProto(r.Policy),
		MaxSeries:       int32(r.MaxSeries),
		Host:            r.Host,
		Resources:       resourcesToProto(r.Resources),
	}
	for name, value := range r.Environment {
		if utf8.ValidString(name) {
			out.Environment[name] = []byte(value)
		}
	}
	for _, t := range r.Templates {
		out.Templates = append(out.Templates, &runnerpb.Template{Path: strings.ToValidUTF8(t.Path, "\uFFFD"), Text: t.Text})
	}
	return out
}

func resourcesToProto(list []Resource) []*runnerpb.Resource {
	var out []*runnerpb.Resource
	for _, res := range list {
		out = append(out, &runnerpb.Resource{
			Type: res.Type, Id: res.ID, Config: res.Config, Check: res.Check, Posted: res.Posted,
			Shared: res.Shared, Generation: res.Generation,
		})
	}
	return out
}

func resourcesFromProto(list []*runnerpb.Resource) []Resource {
	var out []Resource
	for _, res := range list {
		out = append(out, Resource{
			Type: res.GetType(), ID: res.GetId(), Config: res.GetConfig(), Check: res.GetCheck(), Posted: res.GetPosted(),
			Shared: res.GetShared(), Generation: res.GetGeneration(),
		})
	}
	return out
}

func prepareRequestFromProto(r *runnerpb.PrepareRequest) PrepareRequest {
	out := PrepareRequest{
		Config:          r.GetConfig(),
		ResourcesOnly:   r.GetResourcesOnly(),
		StreamID:        r.GetStreamId(),
		Instance:        r.GetInstance(),
		LogLevel:        r.GetLogLevel(),
		LogMegabytes:    int(r.GetLogMegabytes()),
		Environment:     make(map[string]string, len(r.GetEnvironment())),
		Chilled:         r.GetChilled(),
		AllowTests:      r.GetAllowTests(),
		PrefixEndpoints: r.GetPrefixEndpoints(),
		LogDir:          r.GetLogDir(),
		OrphanTimeout:   r.GetOrphanTimeout().AsDuration(),
		Policy:          policyFromProto(r.GetPolicy()),
		MaxSeries:       int(r.GetMaxSeries()),
		Host:            r.GetHost(),
		Resources:       resourcesFromProto(r.GetResources()),
	}
	for name, value := range r.GetEnvironment() {
		out.Environment[name] = string(value)
	}
	for _, t := range r.GetTemplates() {
		out.Templates = append(out.Templates, Template{Path: t.GetPath(), Text: t.GetText()})
	}
	return out
}

func policyToProto(p ComponentPolicy) *runnerpb.ComponentPolicy {
	out := &runnerpb.ComponentPolicy{DenyDangerous: p.DenyDangerous, Classes: make(map[string]*runnerpb.ClassPolicy, len(p.Classes))}
	for name, class := range p.Classes {
		out.Classes[name] = &runnerpb.ClassPolicy{Allow: class.Allow, Deny: class.Deny}
	}
	return out
}

func policyFromProto(p *runnerpb.ComponentPolicy) ComponentPolicy {
	out := ComponentPolicy{DenyDangerous: p.GetDenyDangerous()}
	for name, class := range p.GetClasses() {
		if out.Classes == nil {
			out.Classes = make(map[string]ClassPolicy, len(p.GetClasses()))
		}
		out.Classes[name] = ClassPolicy{Allow: class.GetAllow(), Deny: class.GetDeny()}
	}
	return out
}

func rejectionToProto(r *Rejection) *runnerpb.Rejection {
	out := &runnerpb.Rejection{Message: text(r.Message), Address: r.Address}
	switch r.Kind {
	case RejectLint:
		out.Kind = runnerpb.Rejection_KIND_LINT
	case RejectAddressInUse:
		out.Kind = runnerpb.Rejection_KIND_ADDRESS_IN_USE
	case RejectBuild:
		out.Kind = runnerpb.Rejection_KIND_BUILD
	}
	for _, l := range r.Lints {
		out.Lints = append(out.Lints, &runnerpb.Lint{
			Line: int32(l.Line), Column: int32(l.Column), Message: text(l.Message), Resource: l.Resource,
		})
	}
	return out
}

func rejectionFromProto(r *runnerpb.Rejection) *Rejection {
	out := &Rejection{Kind: RejectBuild, Message: r.GetMessage(), Address: r.GetAddress()}
	switch r.GetKind() {
	case runnerpb.Rejection_KIND_LINT:
		out.Kind = RejectLint
	case runnerpb.Rejection_KIND_ADDRESS_IN_USE:
		out.Kind = RejectAddressInUse
	case runnerpb.Rejection_KIND_BUILD, runnerpb.Rejection_KIND_UNSPECIFIED:
	}
	for _, l := range r.GetLints() {
		out.Lints = append(out.Lints, Lint{
			Line: int(l.GetLine()), Column: int(l.GetColumn()), Message: l.GetMessage(), Resource: l.GetResource(),
		})
	}
	return out
}

func readinessToProto(r Readiness) *runnerpb.ReadyResponse {
	out := &runnerpb.ReadyResponse{Ready: r.Ready}
	for _, c := range r.Connections {
		out.Connections = append(out.Connections, &runnerpb.Connection{
			Path: c.Path, Label: c.Label, Connected: c.Connected, Error: text(c.Error),
		})
	}
	for _, w := range r.Warnings {
		out.Warnings = append(out.Warnings, text(w))
	}
	if e := r.LastError; e != nil {
		out.LastError = &runnerpb.LoggedError{At: timestamppb.New(e.At), Path: text(e.Path), Message: text(e.Message)}
	}
	if own := r.Own; own != nil {
		out.OwnListener = &runnerpb.OwnListener{InFlight: int64(own.InFlight), Quiet: durationpb.New(own.Quiet)}
	}
	return out
}

func readinessFromProto(r *runnerpb.ReadyResponse) Readiness {
	out := Readiness{Ready: r.GetReady(), Warnings: r.GetWarnings()}
	for _, c := range r.GetConnections() {
		out.Connections = append(out.Connections, Connection{
			Path: c.GetPath(), Label: c.GetLabel(), Connected: c.GetConnected(), Error: c.GetError(),
		})
	}
	if e := r.GetLastError(); e != nil {
		out.LastError = &LoggedError{At: e.GetAt().AsTime(), Path: e.GetPath(), Message: e.GetMessage()}
	}
	if own := r.GetOwnListener(); own != nil {
		out.Own = &OwnListener{InFlight: int(own.GetInFlight()), Quiet: own.GetQuiet().AsDuration()}
	}
	return out
}

func eventToProto(e Event) *runnerpb.EventsResponse {
	if e.Wanting {
		return &runnerpb.EventsResponse{Event: &runnerpb.EventsResponse_Wanting{Wanting: &runnerpb.Wanting{}}}
	}
	if e.Finished == nil {
		return &runnerpb.EventsResponse{Event: &runnerpb.EventsResponse_Attached{Attached: &runnerpb.Attached{}}}
	}
	return &runnerpb.EventsResponse{Event: &runnerpb.EventsResponse_Finished{Finished: &runnerpb.Finished{
		Error: text(e.Finished.Error), Metrics: metricsToProto(e.Finished.Metrics),
	}}}
}

func eventFromProto(e *runnerpb.EventsResponse) Event {
	f := e.GetFinished()
	if f == nil {
		return Event{Wanting: e.GetWanting() != nil}
	}
	return Event{Finished: &Finished{Error: f.GetError(), Metrics: metricsFromProto(f.GetMetrics())}}
}

func identityToProto(id Identity) *runnerpb.IdentifyResponse {
	out := &runnerpb.IdentifyResponse{
		StreamId: text(id.StreamID), Instance: text(id.Instance), Version: text(id.Version), Pid: int64(id.PID),
		CanAssume: id.CanAssume, Shares: id.Shares,
	}
	switch id.Phase {
	case PhaseFresh:
		out.Phase = runnerpb.IdentifyResponse_PHASE_FRESH
	case PhasePrepared:
		out.Phase = runnerpb.IdentifyResponse_PHASE_PREPARED
	case PhaseRunning:
		out.Phase = runnerpb.IdentifyResponse_PHASE_RUNNING
	case PhaseEnded:
		out.Phase = runnerpb.IdentifyResponse_PHASE_ENDED
	case PhaseLeaving:
		out.Phase = runnerpb.IdentifyResponse_PHASE_LEAVING
	}
	return out
}

func identityFromProto(id *runnerpb.IdentifyResponse) Identity {
	out := Identity{
		StreamID: id.GetStreamId(), Instance: id.GetInstance(), Version: id.GetVersion(), PID: int(id.GetPid()),
		CanAssume: id.GetCanAssume(), Shares: id.GetShares(),
	}
	switch id.GetPhase() {
	case runnerpb.IdentifyResponse_PHASE_FRESH, runnerpb.IdentifyResponse_PHASE_UNSPECIFIED:
		out.Phase = PhaseFresh
	case runnerpb.IdentifyResponse_PHASE_PREPARED:
		out.Phase = PhasePrepared
	case runnerpb.IdentifyResponse_PHASE_RUNNING:
		out.Phase = PhaseRunning
	case runnerpb.IdentifyResponse_PHASE_ENDED:
		out.Phase = PhaseEnded
	case runnerpb.IdentifyResponse_PHASE_LEAVING:
		out.Phase = PhaseLeaving
	}
	return out
}

// text makes a string fit for protobuf, which refuses a whole message for one
// byte that is not UTF-8. Messages and labels can hold what a stream read.
func text(s string) string {
	return strings.ToValidUTF8(s, "\uFFFD")
}

func assignmentToProto(a Assignment) *runnerpb.AssumeRequest {
	req := &runnerpb.AssumeRequest{
		WorkDir: a.WorkDir, Environment: a.Environment, MemoryBytes: a.Limits.MemoryBytes, Cpus: int32(a.Limits.CPUs),
	}
	if a.User != nil {
		req.User = &runnerpb.User{Uid: a.User.UID, Gid: a.User.GID}
	}
	return req
}

func assignmentFromProto(req *runnerpb.AssumeRequest) Assignment {
	a := Assignment{
		WorkDir: req.GetWorkDir(), Environment: req.GetEnvironment(),
		Limits: Limits{MemoryBytes: req.GetMemoryBytes(), CPUs: int(req.GetCpus())},
	}
	if user := req.GetUser(); user != nil {
		a.User = &User{UID: user.GetUid(), GID: user.GetGid()}
	}
	return a
}
