// Package catalogue knows the runners that are installed and the components
// that each of them carries.
//
// A runner's binary says what it carries when it is asked with --describe. That
// takes as long as a start does, so the answer is kept in a file for as long as
// the binary stays as it is. Which components a config names is found by what the
// runners say of the components' fields: the supervisor itself knows none.
//
// It imports rpc and nothing else of ours. Package supervisor imports it.
package catalogue
