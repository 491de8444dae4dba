// Package engine runs one stream with the public Benthos engine. It is the
// only package of ours that imports Benthos, so that everything the engine
// does to a process stays behind one small surface.
//
// The engine builds and starts a stream in one call. Prepare splits the two:
// the engine registers the stream's own /ready endpoint as the last act of
// building, before anything consumes, and Prepare holds it there until Run
// opens the gate.
//
// What a component policy denies is taken out of the engine of the whole
// process, before anything is linted: a denied component or function is there
// and cannot be made, whoever asks for it, also while the stream runs. The
// linter is told of it, so that a config which names one learns where.
//
// It imports rpc for the plain types of the contract. Only runner may import
// it.
package engine
