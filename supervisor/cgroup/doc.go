// Package cgroup limits what a stream's processes may use and tells what they
// did use, through the kernel's control groups, in both of their versions.
//
// A Hierarchy is one supervisor's subtree, a Leaf the cgroup of one start of a
// runner. Version 2 has one tree for all controllers. Version 1 has one per
// controller, so that a leaf is a folder in each of them; where version 2 is
// mounted beside it (hybrid), the leaf has a folder there too, which limits
// nothing but ends all its processes at once and knows their pressure.
//
//	version 1   /sys/fs/cgroup/memory /penstock/<name>/<leaf>
//	            /sys/fs/cgroup/cpu    /penstock/<name>/<leaf>   …
//	version 2   /sys/fs/cgroup        /penstock/<name>/<leaf>
//	delegated   /sys/fs/cgroup  <unit>/supervisor               the supervisor itself
//	                            <unit>/<name>/<leaf>
//
// What a process is limited to is written, read back and compared. A limit
// that the kernel does not take exactly, page rounding aside, is an error:
// nothing is enforced by halves. A leaf serves one start only, since newer
// kernels kill whatever is cloned into a leaf that was killed before.
//
// The files are written directly. github.com/containerd/cgroups tells which
// cgroups the supervisor itself is in; its managers are not used, because they
// neither read back nor undo a creation that fails halfway, show zeros for a
// leaf that is gone, cannot lift every limit again, know no disk by a path, and
// bring D-Bus and eBPF libraries with them.
//
// It imports nothing of ours. supervisor and supervisor/process import it.
package cgroup
