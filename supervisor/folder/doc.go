// Package folder works on files and folders that a stream's process can write,
// so that nothing it does there misleads the supervisor.
//
// It exists because the supervisor may do what the stream may not, and still
// has to read the stream's logs and last words, add to its output, hand its
// folder to another user and measure it. The stream can put there, at any
// moment, a link to a file of somebody else's, a named pipe that blocks whoever
// opens it, a device, folders without end.
//
//	dir   the supervisor's: only it can put something else in its place
//	 └ name   the stream's: a regular file, or it is refused
//
// A file is looked at before it is opened, since opening alone can do something
// to a device; opened without following a link and without waiting; and looked
// at again, since it can be replaced in between. Its owner has to be the
// folder's: hard links cannot be counted while they come and go. What is not as
// it should be is ErrTampered, and the error names it.
//
// The package imports nothing of this module; supervisor and its packages may
// import it.
package folder
