// Package process starts, adopts, watches and ends the processes of runners.
//
// Each runner has a folder of its own below the run folder, mode 0700: its
// sockets, its standard error and the record of its end. It runs in its own
// session, so that a terminal's Ctrl-C reaches the supervisor alone, and
// inherits neither files nor environment. When it has exited, the rest of its
// process group is killed, and its folder is removed when it is closed. What a
// stream starts in a session of its own is reached by its cgroup, where it has
// one.
//
// A runner outlives its supervisor, and the next one adopts it by its Identity:
// boot id, start time, user, and who listens on its socket must all agree, which
// only the kernel is asked. Adopted processes are watched and signalled through
// pidfds, so that a recycled id is never hit; how one ended is known from the
// kernel (Linux 6.15, or /proc while nobody has reaped it) or from what it left
// in its folder. Adoption needs Linux 5.3; ending the whole group without a
// look at /proc needs 6.9.
//
// A runner is started in a Confinement: by penstock-launch, which gives up its
// privileges, and in a cgroup of its own, which is removed with it. What it
// leaves in its folder may be anything and is read by package folder; its
// sockets are used only while the kernel says that they are its own.
//
// It imports rpc, cgroup, folder and sandbox. Only supervisor may import it.
package process
