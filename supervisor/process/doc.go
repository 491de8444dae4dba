// Package process starts, watches and ends the processes of runners.
//
// Each runner has a folder of its own below the run folder, mode 0700: its
// sockets and its standard error. It runs in its own session, so that a
// terminal's Ctrl-C reaches the supervisor alone, and inherits neither files
// nor environment. When it has exited, the rest of its process group is killed
// before it is reaped, and its folder is removed. What a stream starts in a
// session of its own is out of reach.
//
// It imports rpc. Only supervisor may import it.
package process
