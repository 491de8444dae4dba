package engine

import (
	"errors"
	"reflect"
	"sync"

	"github.com/redpanda-data/benthos/v4/public/service"

	"penstock/rpc"
)

// rehearsal is a config that nobody has posted. What linting needs is made when
// something is linted first.
const rehearsal = `
input: {http_server: {path: /post}}
pipeline: {processors: [{mapping: 'root = content()'}]}
output: {sync_response: {}}
`

// errOtherPolicy keeps a stream from running under a policy that is not its own:
// what was taken out of the engine cannot be put back.
var errOtherPolicy = errors.New("the runner was made ready for another component policy")

// rehearsed is what restrict has made of the policy that the process keeps to
// already, if it does.
var rehearsed struct {
	sync.Mutex
	done   bool
	given  rpc.ComponentPolicy
	env    *service.Environment
	policy rpc.ComponentPolicy
}

// Rehearse does ahead what Prepare does for any config: it takes what the policy
// denies out of the whole process's engine, and has the linter make what it
// needs. It constructs no component.
func Rehearse(policy rpc.ComponentPolicy) error {
	env, derived, err := restrictOnce(policy)
	if err != nil {
		return err
	}
	// That it lints is nobody's concern: the policy may deny some of it.
	_ = lint(env, rpc.PrepareRequest{Config: []byte(rehearsal), Policy: derived})
	return nil
}

// restrictOnce is restrict for what restricted returns from then on.
func restrictOnce(policy rpc.ComponentPolicy) (*service.Environment, rpc.ComponentPolicy, error) {
	rehearsed.Lock()
	defer rehearsed.Unlock()
	if rehearsed.done {
		return nil, policy, errOtherPolicy
	}
	env, derived, err := restrict(policy)
	if err != nil {
		return nil, policy, err
	}
	rehearsed.done, rehearsed.given, rehearsed.env, rehearsed.policy = true, policy, env, derived
	return env, derived, nil
}

// restricted is restrict, unless that was rehearsed.
func restricted(policy rpc.ComponentPolicy) (*service.Environment, rpc.ComponentPolicy, error) {
	rehearsed.Lock()
	defer rehearsed.Unlock()
	switch {
	case !rehearsed.done:
		return restrict(policy)
	case !reflect.DeepEqual(policy, rehearsed.given):
		return nil, policy, errOtherPolicy
	}
	return rehearsed.env, rehearsed.policy, nil
}
