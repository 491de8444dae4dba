// Package configs is the server's own configuration: what it is by default,
// how it is read, and which values it may have. The settings themselves belong
// to the packages that use them (api.Config, supervisor.Config); this one only
// puts them into a file.
//
// Reading is strict, because a misspelt timeout that is silently ignored is
// found in an outage: an unknown or repeated key, a value of the wrong type, an
// alias and a second document are errors that name the file, the line and the
// key. What the file leaves out keeps its default.
//
// A value comes from, in rising precedence: Default, the file, the sets of
// Load (`--set path=value`), and then whatever the caller assigns.
//
// The folder holds penstock.yaml too, the commented reference that a test keeps
// equal to Default; examples/, streams to try; resources/, what they share; and
// systemd/, a unit whose flags a test of cmd/penstock tries.
//
// It may import api and supervisor, for their Config structs.
package configs
