// Package handover passes a listening socket from one process to another, over
// a unix connection that begins as HTTP: the supervisor gives a runner the
// socket of its stream, and a later supervisor gets it back.
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
// Whatever arrives is looked at before it is used: it has to be exactly one
// TCP socket that listens.
//
// It imports rpc/upgrade, of ours.
package handover
