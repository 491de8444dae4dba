// Package process starts, watches and ends the processes of runners.
//
// Each runner has a folder of its own below the run folder, mode 0700: its
// sockets and its standard error. It runs in its own session, so that a
// terminal's Ctrl-C reaches the supervisor alone, and inherits neither files
// nor environment. When it has exited, whatever it started is killed before
// it is reaped, and its folder is removed.
//
// It imports rpc. Only supervisor may import it.
package process
