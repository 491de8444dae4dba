// Package egress says which network addresses the processes of a range of
// users may reach.
//
// It exists because streams that are separated in every other way share the
// network of the host: without it one of them could ask the cloud's metadata
// address for the machine's credentials, talk to a database that trusts
// whatever comes from this host, or call the control API. A user is what the
// kernel knows about every socket, so the rules are about users; all others,
// root too, are not looked at any further.
//
// A Table is one nftables table, family inet, with three base chains in the
// output path:
//
//	asked     -150  what is said about the destination the process names
//	redirect  -100  the control port leads to the functions listener
//	reached      0  nothing leads to the control port, whatever NAT there is
//
// In asked the first that applies decides:
//
//	answer within a flow from outside ── TCP ──▶ pass
//	                                  └─ else ─▶ dropped
//	packet of a flow that passed before ───────▶ pass
//	own address, functions port, TCP ──────────▶ pass
//	own address, control port, TCP ────────────▶ redirected, or refused
//	a resolver, port 53 ───────────────────────▶ pass
//	Policy.Allow ──────────────────────────────▶ pass
//	Policy.Deny ───────────────────────────────▶ refused
//	Policy.AllowByDefault ─────────────────────▶ pass, or refused
//
// Refused means that the caller is told: a TCP connection is reset, everything
// else is answered with "administratively prohibited", and a send fails.
//
// What the process names is judged before the host's own NAT changes it. So
// the embedded resolver of a container engine or a service mesh, which redirect
// the same connection to another port, need no rule of their own, and an
// address of this host from which a container's port is forwarded counts as
// what it is. Where the operator's NAT leads is the operator's affair, but for
// the control port.
//
// A service that listens on 127.0.0.1 mostly listens on the host's other
// addresses, too. Therefore a deny rule for 127.0.0.1 or ::1 is, with its
// ports, also one for every address of this host, and for broadcast and
// multicast, which are delivered on this host as well. An allow rule lifts it
// for the addresses that it names.
//
// An answer to a datagram that came uninvited is dropped: Landlock decides
// about TCP ports that a process may listen on, and knows no UDP.
//
// The rules outlive the supervisor, as the runners do. They are replaced at
// once: a packet is judged by the old ones or by the new. Connection tracking
// is on for the whole host as long as there is a table, and a flow that passed
// before the rules were replaced goes on. The user of a socket is the one who
// opened it; a packet without one, as the kernel's own, is not looked at. Packet
// sockets pass by the rules and further subflows of MPTCP have no user: the
// sandbox has to forbid both. Unix sockets are no matter of this package.
//
// The package may import nothing of this module.
package egress
