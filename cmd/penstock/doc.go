// Command penstock runs streams, each in a process of its own, and serves the
// REST API that manages them.
//
//	serve        files → supervisor → listen → what the store holds → what the files
//	             declare → api → signal → drain the streams, or detach from them
//	lint, test,  have a runner's binary look at files, without a server
//	template
//	status       a table of a server's streams
//	upgrade      restarts streams whose runner is of another version
//	healthcheck  asks a server for /ping
//	version      tells what was built
//
// This package wires: what serve does is in the packages it calls, but for the
// finding, reading and watching of files. The other verbs are clients of the REST API.
// It may import configs, api and supervisor with its document package, and
// nothing may import it.
package main
