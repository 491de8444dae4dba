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
// The folder is the stream's, which may put anything there. Only regular files
// are read, and none that belongs to somebody else (supervisor/folder); what
// has a log file's name and is none is passed over. Nothing that a stream can
// make cheaply costs much to read: memory is bounded by one block of 64 KiB and
// one line, which is cut at MaxLine; the tail is looked for backwards, in the
// last 32 MiB; of a file of holes at most 1 GiB is read, of the folder's
// entries 100,000; and changes are looked at 100 times a second at most. A line
// says so where that leaves something out.
//
// The package imports supervisor/folder; supervisor and api may import it.
package logs
