package catalogue

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"penstock/rpc"
)

// Runner is an installed runner.
type Runner struct {
	// Name is what runtime.runner calls it.
	Name string
	// Path is that of its binary.
	Path string
	// Version and Engine are what the binary says of itself.
	Version, Engine string
	// Count is how many components it carries, and Size that of the binary in
	// bytes.
	Count int
	Size  int64

	carries map[ref]bool
}

// Carries says whether the runner has a component.
func (r *Runner) Carries(typ rpc.ComponentType, name string) bool { return r.carries[ref{typ, name}] }

// Catalogue are the runners that are installed, the smallest first. It never
// changes.
type Catalogue struct {
	Runners []*Runner
	fields  fields
	known   []known
}

// known is a runner that could be installed.
type known struct {
	name, target string
	carries      map[ref]bool
}

// New makes a catalogue of runners and of what each has said.
func New(runners map[*Runner]rpc.Description) *Catalogue {
	c := &Catalogue{fields: fields{}}
	for r, said := range runners {
		r.Version, r.Engine, r.Count = said.Version, said.Engine, len(said.Components)
		r.carries = make(map[ref]bool, len(said.Components))
		for _, component := range said.Components {
			r.carries[ref{component.Type, component.Name}] = true
		}
		c.fields.learn(said.Components)
		c.Runners = append(c.Runners, r)
	}
	slices.SortFunc(c.Runners, func(a, b *Runner) int {
		return cmp.Or(cmp.Compare(a.Size, b.Size), cmp.Compare(a.Count, b.Count), strings.Compare(a.Name, b.Name))
	})
	return c
}

// ErrNotInstalled is that no runner has what a config names.
var ErrNotInstalled = errors.New("no runner that is installed has it")

// Choose finds the smallest runner that has all components which a stream's
// config and its resources name. The error wraps ErrNotInstalled. What nobody
// knows is left to the smallest runner, whose linter names it.
func (c *Catalogue) Choose(config any, resources []Ref) (*Runner, error) {
	refs := slices.Concat(c.fields.named(config), resources)
	refs = slices.DeleteFunc(refs, func(r Ref) bool { return !c.exists(r) })
	for _, r := range c.Runners {
		if len(r.missing(refs)) == 0 {
			return r, nil
		}
	}
	// The one that has most of it says what is missing.
	best := slices.MinFunc(c.Runners, func(a, b *Runner) int { return cmp.Compare(len(a.missing(refs)), len(b.missing(refs))) })
	return nil, fmt.Errorf("%w: %s", ErrNotInstalled, best.missing(refs)[0])
}

// exists says that a runner has the component, or could have it.
func (c *Catalogue) exists(r Ref) bool {
	key := ref{r.Type, r.Name}
	return slices.ContainsFunc(c.Runners, func(runner *Runner) bool { return runner.carries[key] }) ||
		slices.ContainsFunc(c.known, func(k known) bool { return k.carries[key] })
}

func (r *Runner) missing(refs []Ref) (out []Ref) {
	for _, of := range refs {
		if !r.Carries(of.Type, of.Name) {
			out = append(out, of)
		}
	}
	return out
}
