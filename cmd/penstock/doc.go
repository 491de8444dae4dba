// Command penstock runs streams, each in a process of its own, and serves the
// REST API that manages them.
//
//	serve        configs → log → supervisor → resources → streams → api → signal → drain
//	healthcheck  asks a server for /ping
//	version      tells what was built
//
// This package only wires: what a verb does is in the packages it calls. It may
// import configs, api and supervisor with its document package, and nothing may
// import it.
package main
