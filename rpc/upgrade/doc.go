// Package upgrade makes an HTTP/1.1 connection to a runner one of another
// protocol: the supervisor asks for it with a method that no client of the
// gateway can send, and the runner answers 101.
//
// What runs on the connection then is rpc/handover's and rpc/multiplex's. It
// imports nothing of ours, and only those two import it.
package upgrade
