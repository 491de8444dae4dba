// Package logs reads what a stream's runner has written to its log folder.
//
// It exists because the runner only writes: it keeps running while nobody
// reads, and the supervisor gives its log out also when the runner is gone.
// There are two sources, each a file and, after a rotation by lumberjack, one
// older file beside it:
//
//	stream.log  stream-2026-11-21T10-00-00.000.log   the log, a JSON object a line
//	output.log  output-2026-11-21T10-00-00.000.log   what components print, and panics
//
// A Reader goes through the files of one source from the oldest to the newest.
// With Follow it goes on:
//
//	read the file ──end──▶ rotated? ──yes──▶ read on to its end ──▶ next file
//	      ▲                   │ no
//	      └──── changed ◀── wait (fsnotify; a poll where that is not to be had)
//	                          │ the folder is gone
//	                          ▼
//	                        io.EOF
//
// A file that is being read stays open, so that its renaming and its removal
// cost nothing. The next two are opened as soon as they are noticed. A reader
// that is still slower than that finds its file gone from the folder and
// cannot tell how much was written and removed meanwhile: then it gives one
// line that says so, in the place where lines may be missing, and goes on with
// the oldest file there is. Lines are never lost silently, given twice, or
// given out of order.
//
// Memory is bounded: one block of 64 KiB and one line, which is cut at
// MaxLine. The tail is looked for backwards from the end.
//
// The package may import nothing of this module.
package logs
