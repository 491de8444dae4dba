package catalogue

import (
	"fmt"
	"slices"
	"strings"
)

// Choose finds the smallest runner that has all that is named; the core runner is
// always the smallest. With wanted it is the one of that name. Where nobody knows
// a component it is left to the runner's linter to name it, as it is where a
// template makes one that no runner has.
//
// The error names what is missing, where the config names it, who has it and how
// to install that.
func (c *Catalogue) Choose(wanted string, n Named) (*Runner, error) {
	if wanted != "" {
		return c.byName(wanted, n)
	}
	if core := c.find(Core); core.Fault != nil {
		// Nobody knows what it carries, and it runs what it can.
		return core, nil
	}
	for _, all := range []Named{{Refs: slices.Concat(n.Refs, n.Maybe)}, n} {
		for _, r := range c.runners {
			if r.Carries(all) {
				return r, nil
			}
		}
	}
	if c.index.with(n) == nil {
		// Each may be in one of them.
		missing := c.find(Core).lacks(n)
		return nil, fmt.Errorf("no runner has %s together: %s", listed(missing), c.mend(n, missing))
	}
	fewest := func(a, b *Runner) int { return len(a.lacks(n)) - len(b.lacks(n)) }
	missing := slices.MinFunc(c.runners, fewest).lacks(n)
	return nil, fmt.Errorf("no runner that is installed has %s: %s", listed(missing), c.mend(n, missing))
}

// byName is Choose for a runner that a config asks for.
func (c *Catalogue) byName(name string, n Named) (*Runner, error) {
	r := c.find(name)
	switch {
	case r == nil && c.index.of(name) != nil:
		return nil, fmt.Errorf("there is no runner %s: installed are %s; `make %s` builds it", name, c.names(), target(name))
	case r == nil:
		return nil, fmt.Errorf("there is no runner %s: installed are %s", name, c.names())
	case r.Fault != nil && name != Core:
		return nil, fmt.Errorf("the runner %s (%s) cannot be used: %w", name, r.Path, r.Fault)
	}
	missing := r.lacks(n)
	if len(missing) == 0 {
		return r, nil
	}
	mend := c.mend(n, missing)
	if other, err := c.Choose("", n); err == nil {
		mend = fmt.Sprintf("the runner %s has it", other.Name)
	}
	return nil, fmt.Errorf("the runner %s, which is asked for, does not have %s: %s", name, listed(missing), mend)
}

// mend says how to get a runner that has all that is named.
func (c *Catalogue) mend(n Named, missing []Ref) string {
	if known := c.index.with(n); known != nil {
		r := c.find(known.Name)
		switch {
		case r == nil:
			return fmt.Sprintf("the runner %s has it, and is not installed: `make %s` builds it", known.Name, target(known.Name))
		case r.Fault != nil:
			return fmt.Sprintf("the runner %s has it, and %s cannot be used: %s: build it anew with `make %s`", known.Name, r.Path, r.Fault, target(known.Name))
		default:
			return fmt.Sprintf("the runner %s has it, but not the one that is installed, %s of version %s: build it anew with `make %s`",
				known.Name, r.Path, r.Version, target(known.Name))
		}
	}
	var who []string
	for _, ref := range missing {
		of := key{ref.Class, ref.Name}
		var has []string
		for _, r := range c.runners {
			if r.carries[of] {
				has = append(has, r.Name)
			}
		}
		for _, known := range c.index.Runners {
			if known.has(of) && !slices.Contains(has, known.Name) {
				has = append(has, known.Name+" (not installed)")
			}
		}
		if text := fmt.Sprintf("%s %s is in %s", ref.Class, ref.Name, strings.Join(has, " and ")); !slices.Contains(who, text) {
			who = append(who, text)
		}
	}
	return strings.Join(who, "; ") + ": build a runner of your own that has all of it, or use several streams"
}

// target is the make target that builds one of the project's own runners.
func target(runner string) string { return "build-" + runner }

func (c *Catalogue) names() string {
	var names []string
	for _, r := range c.runners {
		names = append(names, r.Name)
	}
	return strings.Join(names, ", ")
}

// listed names components, the first few of many.
func listed(refs []Ref) string {
	const most = 5
	var parts []string
	for _, r := range refs[:min(len(refs), most)] {
		parts = append(parts, "the "+r.String())
	}
	if more := len(refs) - most; more > 0 {
		parts = append(parts, fmt.Sprintf("%d more", more))
	}
	if len(parts) == 1 {
		return parts[0]
	}
	return strings.Join(parts[:len(parts)-1], ", ") + " and " + parts[len(parts)-1]
}
