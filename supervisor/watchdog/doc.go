// Package watchdog measures what the kernel does not hold: the memory of
// processes where no cgroup can be written, and the disk space of folders.
//
// It exists because a limit is wanted on a laptop, too, and because no common
// file system bounds a folder by itself. A watchdog is late by its nature: what
// is used between two looks is used. It tells that a limit was exceeded, and
// its caller acts.
//
// It imports folder. Only supervisor may import it.
package watchdog
