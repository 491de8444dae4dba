// Package supervisor keeps a set of streams running, each in a runner process
// of its own, and answers for them.
//
// One goroutine, the actor, owns the life of each stream. Requests reach it
// through its inbox and wait for the result no longer than their context;
// what they began goes on without them. Whoever only looks reads a snapshot
// and never waits behind a start or a stop.
//
//	              start          started          finish
//	┌─────────┐      ┌──────────┐       ┌─────────┐       ┌──────────┐
//	│ pending ├─────▶│ starting ├──────▶│ running ├──────▶│ finished │
//	└────┬────┘      └─▲──────┬─┘       └─▲──┬────┘       └──────────┘
//	     │        start│      │fail       │  │die
//	     │           ┌─┴──────▼─┐         │  │       ┌────────┐
//	     │           │ backoff  │◀────────┼──┘  ┌───▶│ failed │
//	     │           └─────┬────┘         │     │    └────────┘
//	     │                 └── give up ───┼─────┘
//	     └──── adopt ─────────────────────┘
//	from each of them:  stop ─▶ stopping ─▶ (start: a replacement) starting
//	                                     ├▶ (paused)               paused ─▶ (start) starting
//	                                     ├▶ (idled: no calls)      idle   ─▶ (start: a call) starting
//	                                     └▶ (stopped: deleted)     stopped
//
// Whatever has been acknowledged is in the store first. A supervisor that
// starts puts every stream of the store where it was: it adopts the runners
// that the last one left, and starts the streams that have none.
//
// A change is prepared in a new runner first. Only when that has built the
// new config is the old runner stopped, so that a config the engine refuses
// touches nothing.
//
// It imports rpc and its own subfolders. cmd, configs and api import it.
package supervisor
