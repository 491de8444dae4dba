// Package lone has a runner that is started ahead begin with one processor. All
// of its start is one thing after another, and a second processor is of use to
// the garbage collector alone, which takes a fifth more CPU time with it: nobody
// waits for this runner, but others want the processors. Fewer threads are made,
// too, each of which has to follow when the runner becomes a stream's.
//
// It imports nothing of ours, and little else: so it is initialized before the
// components that a binary imports. Package runner imports it.
package lone
