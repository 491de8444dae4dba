package egress

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
)

// readings is how often the rules are read before a difference counts: a
// listing is not of one moment when somebody else changes tables meanwhile.
const readings = 3

// verify reads the rules back and compares them.
func (t *Table) verify(conn *nftables.Conn, want []chain) error {
	var err error
	for range readings {
		if err = t.compare(conn, want); err == nil {
			return nil
		}
	}
	return fmt.Errorf("egress rules of table %s are not in force: %w", t.table.Name, err)
}

func (t *Table) compare(conn *nftables.Conn, want []chain) error {
	table, err := conn.ListTableOfFamily(t.table.Name, nftables.TableFamilyINet)
	if err != nil {
		return err
	}
	if table.Flags != 0 {
		return fmt.Errorf("the table has the flags %#x, none are expected: it may be dormant", table.Flags)
	}
	chains, err := t.present(conn)
	if err != nil {
		return err
	}
	if !sameChains(want, chains) {
		return errors.New("the kernel has other chains than were written")
	}
	for _, c := range want {
		rules, err := conn.GetRules(&t.table, t.chain(c))
		if err != nil {
			return err
		}
		if len(rules) != len(c.rules) {
			return fmt.Errorf("chain %s has %d rules instead of %d", c.name, len(rules), len(c.rules))
		}
		for i, r := range rules {
			if !sameRule(c.rules[i], r) {
				return fmt.Errorf("rule %d of chain %s is another than was written", i+1, c.name)
			}
		}
	}
	return nil
}

// sameChains tells whether the kernel has exactly these chains.
func sameChains(want []chain, have []*nftables.Chain) bool {
	if len(want) != len(have) {
		return false
	}
	return !slices.ContainsFunc(want, func(c chain) bool {
		return !slices.ContainsFunc(have, func(h *nftables.Chain) bool { return sameChain(c, h) })
	})
}

func sameChain(want chain, have *nftables.Chain) bool {
	if want.name != have.Name || want.kind != have.Type {
		return false
	}
	if want.kind == "" {
		return have.Hooknum == nil
	}
	return have.Hooknum != nil && *have.Hooknum == *nftables.ChainHookOutput &&
		have.Priority != nil && *have.Priority == want.priority &&
		have.Policy != nil && *have.Policy == nftables.ChainPolicyAccept
}

// sameRule compares all but the changes of byte order, which the library
// writes and does not read.
func sameRule(want rule, have *nftables.Rule) bool {
	exprs := slices.DeleteFunc(slices.Clone(want.exprs), func(e expr.Any) bool {
		_, unread := e.(*expr.Byteorder)
		return unread
	})
	return reflect.DeepEqual(exprs, have.Exprs) && bytes.Equal(comment(want.note), have.UserData)
}
