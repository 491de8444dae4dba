package supervisor

import (
	"context"
	"slices"
	"time"

	"go.uber.org/zap"

	"penstock/supervisor/document"
	"penstock/supervisor/options"
	"penstock/supervisor/store"
)

// Caches and rate limits are one instance for all streams. They live in the
// resource host: a runner that hosts them in place of a stream, and that is kept
// as a stream's is, by an actor of its own. Nobody can ask for its id, which no
// stream may have. There is one host, since there is one tenant.
//
// It is started when a stream needs it first, and stays for as long as there is
// a cache or a rate limit: what is in a memory cache outlives the streams.

// hostID is the id of the resource host among the streams.
const hostID = replicaMark + "resources"

// hostConfig is the config of the host, which has no stream.
const hostConfig = "{}\n"

const (
	// hostPatrol is how often it is looked whether anybody needs the host; after
	// so many looks in a row at which nobody did it is ended.
	hostPatrol = 5 * time.Second
	hostIdle   = 3
)

// isHost says that the stream is the resource host and none.
func (s *stream) isHost() bool { return s.id == hostID }

// sharedType says that all streams use one instance of a resource of that type.
func sharedType(typ string) bool { return typ == "cache" || typ == "rate_limit" }

// useOfHost is what is known of a runner's use of the resource host.
type useOfHost int32

const (
	usesNot useOfHost = iota
	uses
	// mayUse is what an adopted runner does until it was asked.
	mayUse
)

// runHost makes the resource host, if there is none. It is the actor of it, and
// may be on its way up or down.
func (s *Supervisor) runHost(ctx context.Context) (*stream, error) {
	s.hostStart.Lock()
	defer s.hostStart.Unlock()
	s.mu.Lock()
	st, exists := s.streams[hostID]
	if s.closed {
		s.mu.Unlock()
		return nil, ErrClosed
	}
	if exists {
		s.mu.Unlock()
		return st, nil
	}
	st = s.newStream(hostID, nil)
	s.streams[hostID] = st
	s.mu.Unlock()
	sp, err := hostSpec()
	if err == nil {
		err = s.createIn(ctx, st, sp, store.OriginFile, nil, false)
	}
	if err != nil {
		return nil, err
	}
	s.watchers.Go(func() { s.patrolHost(st) })
	return st, nil
}

func hostSpec() (spec, error) {
	doc, err := document.Parse([]byte(hostConfig))
	if err != nil {
		return spec{}, err
	}
	return newSpec(doc, false, false, options.Allowed{})
}

// hostOptions are the host's: its resources may use each path that a stream may
// ask for.
func (s *Supervisor) hostOptions(o options.Options) options.Options {
	o.Sandbox = options.Sandbox{Read: slices.Clone(s.cfg.Isolation.Read), Write: slices.Clone(s.cfg.Isolation.Write)}
	return o
}

// runningHost waits for the resource host to run, and starts it if need be.
func (s *Supervisor) runningHost(ctx context.Context) (*instance, error) {
	for {
		st, err := s.runHost(ctx)
		if err != nil {
			return nil, err
		}
		v := st.seen.Load()
		if v != nil && v.active() {
			return v.current, nil
		}
		// One that is being made shows nothing yet.
		news := st.born
		if v != nil {
			news = v.superseded
		}
		select {
		case <-news:
			if v == nil && st.seen.Load() == nil {
				// It could not be made, which was told to whoever tried.
				<-st.gone
			}
		case <-st.gone:
		case <-time.After(askAgain):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// hosts is the instance of the resource host that runs; nil when none does.
func (s *Supervisor) hosts() *instance {
	s.mu.RLock()
	st := s.streams[hostID]
	s.mu.RUnlock()
	if st == nil {
		return nil
	}
	v := st.seen.Load()
	if v == nil || !v.active() {
		return nil
	}
	return v.current
}

// patrolHost ends the host when there is nothing in it and nobody needs it.
func (s *Supervisor) patrolHost(st *stream) {
	unneeded := 0
	for unneeded < hostIdle {
		select {
		case <-st.gone:
			return
		case <-s.root.Done():
			return
		case <-s.hostNudge:
			// Nobody needs what it had last.
			unneeded = hostIdle
		case <-time.After(hostPatrol):
		}
		unneeded++
		if s.needsHost() {
			unneeded = 0
		}
	}
	err := s.store.Update(func(tx *store.Tx) error { return tx.DeleteStream(hostID) })
	if err != nil {
		s.log.Warn("the store keeps a resource host that nobody needs: it runs on", zap.Error(err))
		return
	}
	s.log.Info("the resource host ends: there is no cache, no rate limit and no stream that uses it")
	_ = st.end(s.root, s.cfg.Timeouts.Stop, true)
}

// needsHost says that there is a resource to be hosted, or a stream that has
// used the host for something else.
func (s *Supervisor) needsHost() bool {
	for _, res := range s.resources.snapshot() {
		if sharedType(res.typ) {
			return true
		}
	}
	return slices.ContainsFunc(s.everyone(), func(st *stream) bool {
		v := st.seen.Load()
		return v.current != nil && useOfHost(v.current.sharing.Load()) != usesNot
	})
}
