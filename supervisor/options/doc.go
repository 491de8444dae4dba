// Package options reads the "runtime:" block of a stream's config: what the
// supervisor, and not the engine, does for that stream.
//
// It exists because the block is the one part of a config that the supervisor
// must understand: the engine never sees it. Faults become lints in the
// engine's words, with the line and column of the posted text, and all of them
// are reported at once.
//
// The block is strict, since a mistyped restart policy shows only when it is
// needed: unknown and repeated fields, wrong types and durations without a
// unit are refused. So is ${VAR}, which only runners replace, and so is what is
// above the operator's ceilings: nothing is lowered in silence.
//
// The operator's own defaults and ceilings are Limits, too, so that both sides
// have the same fields, ranges and way to write a size.
//
// A further part of the block is a field of Options and a method of decoder.
//
// The package may import nothing of this module.
package options
