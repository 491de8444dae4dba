package supervisor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.uber.org/zap"

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
	c.guarding.Store(true)
	s.watchers.Go(func() { c.keepGuard(s.root, s.log) })
	return nil
}

// guardInterval is how often the rules of egress are looked at.
const guardInterval = 2 * time.Second

// guards says whether the rules of egress are in force, as far as is known.
func (c *confiner) guards() bool { return c.guarding.Load() }

// keepGuard puts the rules of egress back that somebody else has removed: a
// firewall that is loaded anew begins by flushing everything.
func (c *confiner) keepGuard(ctx context.Context, log *zap.Logger) {
	ticker := time.NewTicker(guardInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		err := c.table.Verify(*c.guarded)
		resolvers := egress.Resolvers()
		switch {
		case err != nil:
			c.guarding.Store(false)
			log.Error("the rules of egress were not in force, and are put back", zap.Error(err))
		case !slices.Equal(resolvers, c.guarded.Resolvers):
			log.Info("this host has other name servers: the rules of egress follow")
		default:
			c.guarding.Store(true)
			continue
		}
		c.guarded.Resolvers = resolvers
		if err := c.table.Apply(*c.guarded); err != nil {
			c.guarding.Store(false)
			log.Error("the rules of egress cannot be put back: streams are not bound by them", zap.Error(err))
			continue
		}
		c.guarding.Store(true)
	}
}

// unguide leads connections to the API nowhere from now on, for runners that go
// on without a supervisor: the port that they were led to may be anybody's next.
func (c *confiner) unguide() error {
	var errs []error
	if c.hierarchy != nil {
		// Folders in which there are runners stay.
		errs = append(errs, c.hierarchy.Close())
	}
	if c.guarded != nil {
		policy := *c.guarded
		policy.FunctionsPort = 0
		errs = append(errs, c.table.Apply(policy))
	}
	return errors.Join(errs...)
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
