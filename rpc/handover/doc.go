// Package handover passes a socket from one process to another, over a unix
// connection that begins as HTTP: the supervisor gives a runner the listening
// socket of its stream, and a later supervisor gets it back; and it gives two
// runners the two ends of a connection.
//
// A request of a method that no client of the gateway can send is answered
// with 101. Only then do descriptors follow, as ancillary data: an HTTP server
// reads ahead of a request, and what it reads so loses them.
//
//	supervisor                     runner
//	LISTEN      ──────────────▶
//	            ◀──────────────   101
//	descriptor  ──────────────▶
//	            ◀──────────────   "ok", or why not
//
//	LISTENING   ──────────────▶
//	            ◀──────────────   101
//	a byte      ──────────────▶
//	            ◀──────────────   descriptor, or why not
//
// JOIN passes a connection as LISTEN does a listening socket.
//
// Whatever arrives is looked at before it is used: it has to be exactly one
// TCP socket that listens, or one unix socket that is connected.
//
// It imports rpc/upgrade, of ours.
package handover
