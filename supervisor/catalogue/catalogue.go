package catalogue

import (
	"cmp"
	"slices"

	"penstock/rpc"
)

// Core is the name of the runner that is configured as such, and which every
// stream has that needs no other.
const Core = "core"

// Runner is a runner's binary on the disk.
type Runner struct {
	// Name is what runtime.runner calls it.
	Name string
	// Path is that of its binary, which is absolute.
	Path string
	// Version and Engine are what the binary says of itself.
	Version, Engine string
	// Components is how many it carries, and Size that of the binary in bytes.
	Components int
	Size       int64
	// Fault is why it cannot be used; nil when it can.
	Fault error

	found   found
	mark    string
	carries map[key]bool
	// tellsDrivers says that it is known which drivers it has.
	tellsDrivers bool
	// fields are those of each component that lead to others.
	fields map[key]field
}

// learn takes what the binary says.
func (r *Runner) learn(said *rpc.Description) {
	r.Version, r.Engine, r.Components = said.Version, said.Engine, len(said.Components)
	r.carries, r.fields = make(map[key]bool, r.Components), map[key]field{}
	for _, component := range said.Components {
		of := key{component.Type, component.Name}
		r.carries[of] = true
		if f, leads := fieldOf(component.Config); leads {
			r.fields[of] = f
		}
	}
	r.tellsDrivers = said.Drivers != nil
	for _, driver := range said.Drivers {
		r.carries[key{classDriver, driver}] = true
	}
}

// Carries says whether the runner has all that is named. Of one that has not said
// what it carries it is not known that it has not.
func (r *Runner) Carries(n Named) bool { return len(r.lacks(n)) == 0 }

func (r *Runner) lacks(n Named) (out []Ref) {
	if r.Fault != nil {
		return nil
	}
	for _, ref := range n.Refs {
		if !r.carries[key{ref.Class, ref.Name}] && (ref.Class != classDriver || r.tellsDrivers) {
			out = append(out, ref)
		}
	}
	return out
}

// Catalogue are the runners that were installed at one moment. It never changes.
type Catalogue struct {
	// runners that can be used: the core runner, then the others from the smallest
	// on.
	runners []*Runner
	// faulty are those that cannot be used.
	faulty []*Runner
	// fields are those of each component that lead to others.
	fields map[key][]field
	index  *index
	// templates are the mappings of those that define components.
	templates map[key]string
}

func newCatalogue(installed []*Runner) *Catalogue {
	c := &Catalogue{fields: map[key][]field{}, index: known()}
	for _, r := range installed {
		if r.Fault != nil {
			c.faulty = append(c.faulty, r)
			continue
		}
		c.runners = append(c.runners, r)
		for of, f := range r.fields {
			c.fields[of] = merged(c.fields[of], []field{f})
		}
	}
	slices.SortFunc(c.runners, smaller)
	slices.SortFunc(c.faulty, smaller)
	return c
}

// smaller is the order of runners: the core runner first.
func smaller(a, b *Runner) int {
	if (a.Name == Core) != (b.Name == Core) {
		if a.Name == Core {
			return -1
		}
		return 1
	}
	return cmp.Or(cmp.Compare(a.Size, b.Size), cmp.Compare(a.Components, b.Components), cmp.Compare(a.Name, b.Name))
}

// Runners are those that can be used: the core runner, if it has said what it
// carries, and then the others from the smallest on.
func (c *Catalogue) Runners() []*Runner { return c.runners }

// Faulty are the runners that are installed and cannot be used, each with its
// Fault.
func (c *Catalogue) Faulty() []*Runner { return c.faulty }

func (c *Catalogue) find(name string) *Runner {
	for _, r := range slices.Concat(c.runners, c.faulty) {
		if r.Name == name {
			return r
		}
	}
	return nil
}

// knows says that a runner has the component, or could be installed that has.
func (c *Catalogue) knows(of key) bool {
	_, templated := c.templates[of]
	return templated || slices.ContainsFunc(c.runners, func(r *Runner) bool { return r.carries[of] }) || c.index.knows(of)
}
