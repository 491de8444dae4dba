// Package catalogue knows the runners that are installed, the components that
// each of them carries, and which of them a config needs.
//
// A runner's binary says what it carries when it is asked with --describe. That
// takes as long as a start does, so the answer is kept in a file under the
// binary's build id, size and time. Which components a config names is found by what the runners
// say of the components' fields: the supervisor itself knows none.
//
//	binaries on disk ──look──▶ round: asked, or read from DATA/runners ──▶ Catalogue
//	                             │ the core runner first                    │
//	                             └─ a file that has changed begins another  ▼
//	config and resources ──Named──▶ what they name ──Choose──▶ the smallest runner
//
// What could be installed and is not is known from an index of names, which is
// made of what the project's own runners say.
//
// It imports rpc and nothing else of ours. Package supervisor imports it.
package catalogue
