// Package processors leaves a process that passes many calls on one processor
// alone while one is enough.
//
// A call makes four goroutines ready in the supervisor and more in its runner,
// one after the other. Each time Go's runtime wakes a thread that could take the
// next one, if it has a processor for it. Mostly the first thread is faster, and
// the other goes to sleep again: on two cores that took a quarter of what a call
// cost, and half where there was one call at a time. It also has calls sent one
// by one that would have gone together.
//
// It imports nothing of ours. The gateway in package api and package runner
// import it.
package processors
