package egress

import (
	"errors"
	"fmt"
	"math"
	"os"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// feature is something that a kernel may lack.
type feature struct {
	name, option string
	kind         nftables.ChainType
	exprs        []expr.Any
}

func features() []feature {
	filter := nftables.ChainTypeFilter
	return []feature{
		{"nftables for IPv4 and IPv6", "CONFIG_NF_TABLES_INET", filter, fromUsers(1, 1)},
		{"connection tracking", "CONFIG_NFT_CT", filter, inReply()},
		{"routing lookups", "CONFIG_NFT_FIB_INET", filter, toType(unix.RTN_LOCAL)},
		{"rejecting", "CONFIG_NFT_REJECT_INET", filter, refuseChain().rules[1].exprs},
		{"redirecting", "CONFIG_NFT_NAT and CONFIG_NFT_REDIR", nftables.ChainTypeNAT, append(toPorts(unix.IPPROTO_TCP, one(1)), redirectTo(1)...)},
	}
}

// Check tells whether Apply can work in the network namespace of the calling
// thread. The error names what is missing, one thing a line, and the mend. It
// changes nothing: what it adds it removes in the same transaction.
func Check() error {
	conn, err := dial()
	if err != nil {
		return err
	}
	defer conn.CloseLasting() //nolint:errcheck // Nothing is written by closing it.
	var missing []error
	for _, f := range features() {
		err := try(conn, f)
		if errors.Is(err, unix.EPERM) {
			return fmt.Errorf("egress rules cannot be set: %w", explain(err))
		}
		if err != nil {
			missing = append(missing, fmt.Errorf("egress rules need %s (%s), which this kernel lacks: load the module or use Linux 5.2 or later: %w", f.name, f.option, err))
		}
	}
	return errors.Join(missing...)
}

// try adds a rule that applies to nobody, and removes it with its table.
func try(conn *nftables.Conn, f feature) error {
	t := Open(fmt.Sprintf("penstock_check_%d", os.Getpid()))
	c := chain{name: "try", kind: f.kind, priority: *nftables.ChainPriorityNATDest}
	c.add("", fromUsers(math.MaxUint32, math.MaxUint32), f.exprs)
	t.write(conn, []chain{c}, nil)
	conn.DelTable(&t.table)
	return conn.Flush()
}
