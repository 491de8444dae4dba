package egress

import (
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestReplacementLetsNothingThrough(t *testing.T) {
	host, world := hosts(t)
	closed := host.serveTCP(t, ":0", "closed")
	open := world.serveTCP(t, ":0", "world")
	table := Open("penstock_test")
	host.apply(t, table, policy(t))

	var refused, passing []*stream
	for range 2 {
		s := host.stream(t, ourUID)
		s.refused(t, "tcp", "127.0.0.1", closed)
		s.tell(t, "hammer tcp "+net.JoinHostPort("127.0.0.1", closed))
		refused = append(refused, s)
	}
	s := host.stream(t, ourUID)
	s.tell(t, "hammer tcp "+net.JoinHostPort("10.77.0.2", open))
	passing = append(passing, s)

	begun := time.Now()
	for i := range 200 {
		p := policy(t)
		p.Allow = rules(t, "10.0.0.0/8 "+strconv.Itoa(1+i%60000), "10.77.0.2")
		p.AllowByDefault = i%2 == 0
		host.apply(t, table, p)
	}
	t.Logf("a replacement took %v", time.Since(begun)/200)
	for _, s := range refused {
		s.tell(t, "stop")
		a := s.hear(t)
		t.Logf("%d connections tried", a.Tries)
		assert.Zero(t, a.Passed)
		assert.Greater(t, a.Tries, 200)
	}
	for _, s := range passing {
		s.tell(t, "stop")
		a := s.hear(t)
		assert.Zero(t, a.Failed, a.Error)
		assert.Greater(t, a.Passed, 200)
	}
}

func TestRemoveLeavesNothing(t *testing.T) {
	host := newNamespace(t)
	port := host.serveTCP(t, ":0", "host")
	ours := host.stream(t, ourUID)
	table := Open("penstock_test")
	host.do(t, table.Remove)
	p := policy(t)
	p.ControlPort, p.FunctionsPort = 1, 2
	host.apply(t, table, p)
	ours.refused(t, "tcp", "127.0.0.1", port)
	host.do(t, table.Remove)
	ours.reaches(t, "host", "tcp", "127.0.0.1", port)
	assert.Empty(t, tables(t, host))
	host.do(t, table.Remove)
}

func TestTwoSupervisors(t *testing.T) {
	host := newNamespace(t)
	port := host.serveTCP(t, ":0", "host")
	control, functions := host.serveTCP(t, ":0", "control"), host.serveTCP(t, ":0", "functions")
	one, two := Open("penstock_one"), Open("penstock_two")
	p := policy(t)
	p.Allow = rules(t, "127.0.0.1 "+port)
	host.apply(t, one, p)
	p = policy(t)
	p.FirstUID, p.LastUID = 210000, 210009
	p.ControlPort, p.FunctionsPort = number(t, control), number(t, functions)
	host.apply(t, two, p)

	ofOne, ofTwo := host.stream(t, ourUID), host.stream(t, 210009)
	ofOne.reaches(t, "host", "tcp", "127.0.0.1", port)
	ofOne.refused(t, "tcp", "127.0.0.1", control)
	ofTwo.refused(t, "tcp", "127.0.0.1", port)
	ofTwo.reaches(t, "functions", "tcp", "127.0.0.1", control)
	assert.ElementsMatch(t, []string{"penstock_one", "penstock_two"}, tables(t, host))

	host.do(t, one.Remove)
	ofOne.reaches(t, "control", "tcp", "127.0.0.1", control)
	ofTwo.refused(t, "tcp", "127.0.0.1", port)
}

// tables returns the names of all tables in the namespace.
func tables(t *testing.T, n *namespace) []string {
	t.Helper()
	var names []string
	n.do(t, func() error {
		conn, err := nftables.New()
		if err != nil {
			return err
		}
		list, err := conn.ListTables()
		for _, table := range list {
			names = append(names, table.Name)
		}
		return err
	})
	return names
}

func TestWhatIsNotInForceIsAnError(t *testing.T) {
	host := newNamespace(t)
	table := Open("penstock_test")
	p := policy(t)
	host.apply(t, table, p)
	verify := func() error {
		return host.try(func() error {
			conn, err := nftables.New()
			if err != nil {
				return err
			}
			return table.verify(conn, ruleset(p))
		})
	}
	require.NoError(t, verify())
	meddle := func(f func(*nftables.Conn)) {
		host.do(t, func() error {
			conn, err := nftables.New()
			if err != nil {
				return err
			}
			f(conn)
			return conn.Flush()
		})
	}
	stream := &nftables.Chain{Name: chainStream, Table: &table.table}
	for says, f := range map[string]func(*nftables.Conn){
		"chain stream has 0 rules": func(c *nftables.Conn) { c.FlushChain(stream) },
		"other chains":             func(c *nftables.Conn) { c.AddChain(&nftables.Chain{Name: "more", Table: &table.table}) },
		"expected table count":     func(c *nftables.Conn) { c.DelTable(&table.table) },
		"rule 1 of chain stream": func(c *nftables.Conn) {
			c.FlushChain(stream)
			for range ruleset(p)[3].rules {
				c.AddRule(&nftables.Rule{Table: &table.table, Chain: stream, Exprs: []expr.Any{&expr.Verdict{Kind: expr.VerdictAccept}}})
			}
		},
	} {
		t.Run(says, func(t *testing.T) {
			meddle(f)
			err := verify()
			if says == "expected table count" {
				require.Error(t, err)
			} else {
				require.ErrorContains(t, err, says)
			}
			require.ErrorContains(t, err, "penstock_test are not in force")
			// Apply makes good whatever it finds.
			host.apply(t, table, p)
			require.NoError(t, verify())
		})
	}
}

func TestManyRules(t *testing.T) {
	host := newNamespace(t)
	table := Open("penstock_test")
	p := policy(t)
	for i := range maxRules - len(p.Deny) {
		p.Deny = append(p.Deny, rules(t, "10."+strconv.Itoa(i/250)+"."+strconv.Itoa(i%250)+".0/24 1-1023")...)
	}
	begun := time.Now()
	host.apply(t, table, p)
	t.Logf("%d rules took %v", maxRules, time.Since(begun))
}

func TestRefusedPolicyChangesNothing(t *testing.T) {
	host := newNamespace(t)
	port := host.serveTCP(t, ":0", "host")
	table := Open("penstock_test")
	host.apply(t, table, policy(t))
	require.Error(t, host.try(func() error { return table.Apply(Policy{}) }))
	host.stream(t, ourUID).refused(t, "tcp", "127.0.0.1", port)
}

func TestCheck(t *testing.T) {
	host := newNamespace(t)
	host.do(t, Check)
	assert.Empty(t, tables(t, host))

	s := host.stream(t, ourUID)
	s.tell(t, "check")
	assert.Contains(t, s.hear(t).Error, "CAP_NET_ADMIN is missing: run as root with it")
}
