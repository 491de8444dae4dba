package supervisor

import (
	"fmt"

	"penstock/supervisor/egress"
	"penstock/supervisor/sandbox"
)

// Guard closes the API that answers on the TCP port control to streams of the
// profile strict, and leads them to the port functions instead, where nothing
// but the streams' own endpoints answers; 0 leads them nowhere. It is called
// once, before Start.
func (s *Supervisor) Guard(control, functions uint16) error {
	c := s.confiner
	if c.table == nil {
		return nil
	}
	cfg := c.cfg
	policy := egress.Policy{
		FirstUID: cfg.UIDs.First, LastUID: cfg.UIDs.Last,
		AllowByDefault: cfg.Egress.Default == EgressAllow,
		Resolvers:      egress.Resolvers(),
		ControlPort:    control, FunctionsPort: functions,
	}
	var err error
	if policy.Allow, err = egressRules("isolation.egress.allow", cfg.Egress.Allow); err != nil {
		return err
	}
	if policy.Deny, err = egressRules("isolation.egress.deny", cfg.Egress.Deny); err != nil {
		return err
	}
	if !policy.AllowByDefault {
		c.connect = connectPorts(policy)
	}
	if err := c.table.Apply(policy); err != nil {
		return fmt.Errorf("putting the rules of isolation.egress into force: %w", err)
	}
	c.guarded = &policy
	return nil
}

// unguide leads connections to the API nowhere from now on, for runners that go
// on without a supervisor: the port that they were led to may be anybody's next.
func (c *confiner) unguide() error {
	if c.guarded == nil {
		return nil
	}
	policy := *c.guarded
	policy.FunctionsPort = 0
	return c.table.Apply(policy)
}

func egressRules(key string, texts []string) ([]egress.Rule, error) {
	rules := make([]egress.Rule, 0, len(texts))
	for _, text := range texts {
		rule, err := egress.ParseRule(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
		rules = append(rules, rule)
	}
	return rules, nil
}

// dnsPort is the one that names are resolved at.
const dnsPort = 53

// connectPorts are the ports that a policy leaves open at all, for Landlock,
// which knows no addresses; nil means every port.
func connectPorts(policy egress.Policy) []sandbox.PortRange {
	// Landlock asks for the port that was meant, before a connection is led to
	// another.
	ports := []sandbox.PortRange{{First: dnsPort, Last: dnsPort}, {First: policy.ControlPort, Last: policy.ControlPort}}
	for _, rule := range policy.Allow {
		if len(rule.Ports) == 0 {
			return nil
		}
		for _, p := range rule.Ports {
			ports = append(ports, sandbox.PortRange{First: p.First, Last: p.Last})
		}
	}
	return ports
}
