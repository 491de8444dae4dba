// Package events hands the transitions of streams to whoever watches them.
//
// It exists so that what publishes (the actors of streams) never waits for
// what watches (HTTP clients of any speed), and so that a client that lost its
// connection can go on where it was. The hub keeps the last events, and each
// subscription a queue of those its reader has yet to see; an event is stored
// once, whoever waits for it.
//
//	Publish -> ring of the last events -> replay of what followed an id
//	       \-> queues, no longer than the ring -> Next
//
// A queue that is full loses its oldest event, and the reader is told.
//
// The package may import nothing of this module.
package events
