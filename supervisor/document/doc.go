// Package document holds one stream's or resource's config as a YAML (or JSON)
// document, and knows nothing of the components written in it.
//
// It exists because the supervisor must handle configs without reading them
// with the engine: refuse the ones that would hurt whoever reads them next,
// expand what the engine does not know (merge keys), split a set into single
// streams, take out the block that is the supervisor's own, merge a patch, and
// give a config back as it was posted.
//
// The way from text to Document is one pipeline, in this order:
//
//	posted text
//	  -> mask      ${VAR} expressions become plain words: the engine replaces
//	               them textually, so the text need not be YAML before that
//	  -> scan      a linear pass that bounds nodes and nesting before anything
//	               is allocated for them
//	  -> yaml.v3   nodes
//	  -> expand    aliases and merge keys resolved, limits on what they expand to
//
// A text without aliases and merge keys reaches the engine byte for byte.
// Everything else is encoded again, read back to prove that nothing changed,
// and keeps a map of positions so that lints point into the posted text.
//
// A Document is immutable: any number of goroutines may share one. It keeps
// text only and parses again when a value is asked for, because a supervisor
// holds thousands of documents and reads few.
//
// The package may import nothing of this module.
package document
