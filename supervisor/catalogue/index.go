package catalogue

import (
	_ "embed"
	"encoding/json"
	"slices"
	"sync"

	"penstock/rpc"
)

// index are the components of the project's own runners beside the core runner,
// a smaller runner first.
type index struct {
	Runners []indexed `json:"runners"`
}

// indexed is one of them, with the names of its components.
type indexed struct {
	Name       string                         `json:"name"`
	Components map[rpc.ComponentType][]string `json:"components"`
}

// indexText is written by a test of package integration, of what the runners say.
//
//go:embed index.json
var indexText []byte

// known reads the index. It is part of the binary, and a test reads it as well.
var known = sync.OnceValue(func() *index {
	var out index
	if json.Unmarshal(indexText, &out) != nil {
		return &index{}
	}
	return &out
})

func (x *index) of(name string) *indexed {
	at := slices.IndexFunc(x.Runners, func(r indexed) bool { return r.Name == name })
	if at < 0 {
		return nil
	}
	return &x.Runners[at]
}

func (x *index) knows(of key) bool {
	return slices.ContainsFunc(x.Runners, func(r indexed) bool { return r.has(of) })
}

func (r indexed) has(of key) bool { return slices.Contains(r.Components[of.class], of.name) }

func (r indexed) carries(n Named) bool {
	return !slices.ContainsFunc(n.Refs, func(ref Ref) bool { return !r.has(key{ref.Class, ref.Name}) })
}

// with is the smallest of them that has all that is named; nil when none has.
func (x *index) with(n Named) *indexed {
	at := slices.IndexFunc(x.Runners, func(r indexed) bool { return r.carries(n) })
	if at < 0 {
		return nil
	}
	return &x.Runners[at]
}
