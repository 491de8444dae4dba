package egress

import (
	"errors"
	"fmt"
	"sync"

	"github.com/google/nftables"
	"github.com/google/nftables/userdata"
	"golang.org/x/sys/unix"
)

// socketBuffer is enough for a batch of the largest ruleset and all of its
// acknowledgements, in bytes.
const socketBuffer = 8 << 20

// Table is the rules of one supervisor, in the network namespace of the thread
// that calls its methods. It may be used by several goroutines.
type Table struct {
	mu    sync.Mutex
	table nftables.Table
}

// Open returns the table of that name, whether the kernel has it yet or not.
func Open(name string) *Table {
	return &Table{table: nftables.Table{Name: name, Family: nftables.TableFamilyINet}}
}

// Apply replaces the rules by those that enforce the policy, all at once, and
// reads them back. On an error that the kernel gave the earlier rules are still
// in force. It needs CAP_NET_ADMIN.
func (t *Table) Apply(p Policy) error {
	if err := p.check(); err != nil {
		return err
	}
	return t.connected(func(conn *nftables.Conn) error {
		chains := ruleset(p)
		present, err := t.present(conn)
		if err != nil {
			return fmt.Errorf("egress rules of table %s cannot be read: %w", t.table.Name, explain(err))
		}
		t.write(conn, chains, present)
		if err := conn.Flush(); err != nil {
			return fmt.Errorf("egress rules of table %s were refused: %w", t.table.Name, explain(err))
		}
		return t.verify(conn, chains)
	})
}

// connected has one goroutine at a time talk to the kernel.
func (t *Table) connected(talk func(conn *nftables.Conn) error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	conn, err := dial()
	if err != nil {
		return err
	}
	defer conn.CloseLasting() //nolint:errcheck // Nothing is written by closing it.
	return talk(conn)
}

// Verify says whether the kernel has exactly the rules that enforce the policy:
// another program may have removed them. It needs CAP_NET_ADMIN.
func (t *Table) Verify(p Policy) error {
	if err := p.check(); err != nil {
		return err
	}
	return t.connected(func(conn *nftables.Conn) error { return t.verify(conn, ruleset(p)) })
}

// Remove takes all rules away. It returns nil when there are none.
func (t *Table) Remove() error {
	return t.connected(func(conn *nftables.Conn) error {
		conn.DelTable(&t.table)
		if err := conn.Flush(); err != nil && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("egress rules of table %s cannot be removed: %w", t.table.Name, explain(err))
		}
		return nil
	})
}

// write fills the batch. Chains that are already there stay, and only their
// rules are replaced: a packet goes through the chains one after the other, and
// could pass between an old and a new one. Where a table has other chains, it is
// made anew.
func (t *Table) write(conn *nftables.Conn, chains []chain, present []*nftables.Chain) {
	conn.AddTable(&t.table)
	keep := sameChains(chains, present)
	if !keep {
		conn.DelTable(&t.table)
		conn.AddTable(&t.table)
	}
	for i := range chains {
		c := t.chain(chains[i])
		if keep {
			conn.FlushChain(c)
			continue
		}
		conn.AddChain(c)
	}
	for i := range chains {
		c := t.chain(chains[i])
		for _, r := range chains[i].rules {
			conn.AddRule(&nftables.Rule{Table: &t.table, Chain: c, Exprs: r.exprs, UserData: comment(r.note)})
		}
	}
}

func comment(note string) []byte {
	if note == "" {
		return nil
	}
	return userdata.AppendString(nil, userdata.TypeComment, note)
}

// chain is a chain in the library's terms.
func (t *Table) chain(c chain) *nftables.Chain {
	converted := &nftables.Chain{Name: c.name, Table: &t.table}
	if c.kind != "" {
		policy := nftables.ChainPolicyAccept
		converted.Type = c.kind
		converted.Hooknum = nftables.ChainHookOutput
		converted.Priority = nftables.ChainPriorityRef(c.priority)
		converted.Policy = &policy
	}
	return converted
}

// present returns the chains that the kernel has in this table.
func (t *Table) present(conn *nftables.Conn) ([]*nftables.Chain, error) {
	all, err := conn.ListChainsOfTableFamily(nftables.TableFamilyINet)
	if err != nil {
		return nil, err
	}
	var ours []*nftables.Chain
	for _, c := range all {
		if c.Table.Name == t.table.Name {
			ours = append(ours, c)
		}
	}
	return ours, nil
}

// dial opens one connection for all that follows.
func dial() (*nftables.Conn, error) {
	conn, err := nftables.New(nftables.AsLasting(), nftables.WithSockOptions(enlarge))
	if err != nil {
		return nil, fmt.Errorf("egress rules cannot be set: %w", explain(err))
	}
	return conn, nil
}

// enlarge makes the socket's buffers large enough.
func enlarge[C interface {
	SetReadBuffer(size int) error
	SetWriteBuffer(size int) error
}](c C) error {
	return errors.Join(c.SetReadBuffer(socketBuffer), c.SetWriteBuffer(socketBuffer))
}

// explain adds the mend to what the kernel said.
func explain(err error) error {
	switch {
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return fmt.Errorf("CAP_NET_ADMIN is missing: run as root with it (systemd: CapabilityBoundingSet=, a container: --cap-add NET_ADMIN): %w", err)
	case errors.Is(err, unix.EPROTONOSUPPORT), errors.Is(err, unix.EAFNOSUPPORT):
		return fmt.Errorf("the kernel offers no nftables (CONFIG_NF_TABLES): use one that does: %w", err)
	}
	return err
}
