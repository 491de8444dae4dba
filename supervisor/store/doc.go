// Package store is what the supervisor must not forget: streams with their
// last revisions, resources, where their runners live, and which file declared
// what. It is one bbolt file, DATA/state.db, and exists so that whoever was
// told "done" finds it done after any crash.
//
//	Update ──▶ queue ──▶ one bbolt transaction for all that wait ──▶ fdatasync ──▶ nil
//
// # What is promised
//
// An Update that returned nil is on the disk. One that was under way when the
// process or the machine died holds wholly or not at all. One that returned an
// error changed nothing, with a single exception: when the disk failed while
// syncing (EIO), nobody can tell what it kept: that change may hold, wholly,
// and Revisions may show it. The store then refuses every further Update with
// ErrUnwritable until it is opened again. A full disk (ErrFull) is no such case: nothing was changed and
// the next Update may succeed.
//
// # What is refused
//
// A file that is damaged in any way is refused with ErrCorrupt and is never
// written to, so that no evidence and no backup is lost. The library keeps no
// checksum of its data pages and follows their pointers blindly, where a
// damaged one is a fatal fault or an endless recursion. Therefore Open checks
// the whole structure by plain reads before the library maps the file
// (verify.go), and then compares the number and the checksum of all entries
// with those that every transaction records (tally.go): a flipped bit, a lost
// page and a page of older content are all noticed. Both of bbolt's headers
// must be sound: falling back to the older one would silently undo the last
// transaction, and a crash does not tear what fits into one disk sector. What
// cannot be noticed is a disk that confirms a sync and then loses the header it
// confirmed: that transaction has wholly not happened.
//
// # Format
//
//	bucket     key                       value
//	meta       schema                    version of this format, a number
//	meta       generation                State.Generation, a number
//	meta       contents                  count and checksum of all other entries
//	streams    ID                        Stream
//	revisions  ID 0x00 number, 8 bytes   Revision
//	runners    stream's ID               Runner
//	resources  ID                        Resource
//	declared   stream/ID or resource/ID  Declaration
//
// Values are JSON and are read strictly: a field this version does not know is
// ErrCorrupt. Whoever adds, renames or removes a field adds a migration
// (schema.go), even one that does nothing, and so raises the version; a file of
// a newer version is refused as a whole. So an older Penstock never drops what
// a newer one wrote. Strings are stored as UTF-8; a config is stored byte for
// byte.
//
// It may import nothing of this module.
package store
