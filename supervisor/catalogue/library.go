package catalogue

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/agnivade/levenshtein"

	"penstock/rpc"
)

// ErrNoComponent is wrapped when there is no such class, component or runner.
var ErrNoComponent = errors.New("not found")

// Entry is a component that runners carry.
type Entry struct {
	Class   rpc.ComponentType `json:"class"`
	Name    string            `json:"name"`
	Status  string            `json:"status"`
	Summary string            `json:"summary"`
	// Runners are the names of those that have it, the smallest first.
	Runners []string `json:"runners"`
}

// Library is all that runners say of their components.
type Library struct {
	whole *Catalogue
	byKey map[key]*book
	// runner is that of which it is alone; empty when it is of all.
	runner string
}

// book is a component as the smallest runner that has it describes it.
type book struct {
	rpc.Component
	runners []string
}

// Library is what the runners that are installed say, or the one of that name
// alone. An error that wraps ErrNoComponent says that there is no such runner.
func (i *Installed) Library(ctx context.Context, runner string) (*Library, error) {
	whole, err := i.Now().Whole(ctx)
	if err != nil {
		return nil, err
	}
	if runner != "" && !slices.ContainsFunc(whole.runners, func(r *Runner) bool { return r.Name == runner }) {
		return nil, fmt.Errorf("runner %q: %w: installed are %s", runner, ErrNoComponent, whole.names())
	}
	out := &Library{whole: whole, byKey: map[key]*book{}, runner: runner}
	for _, r := range whole.runners {
		// Of a component that the runner lacks nobody needs to read more.
		if runner != "" && r.Name != runner {
			continue
		}
		said, err := i.Description(r)
		if err != nil {
			return nil, err
		}
		for _, c := range said.Components {
			of := key{c.Type, c.Name}
			if out.byKey[of] == nil {
				out.byKey[of] = &book{Component: c}
			}
		}
	}
	for of, b := range out.byKey {
		for _, r := range whole.runners {
			if r.carries[of] {
				b.runners = append(b.runners, r.Name)
			}
		}
	}
	return out, nil
}

// List are the components of a class, or with an empty one of all, sorted. An error
// that wraps ErrNoComponent says that there is no such class.
func (l *Library) List(class string) ([]Entry, error) {
	if err := checkClass(class); class != "" && err != nil {
		return nil, err
	}
	out := []Entry{}
	for of, b := range l.byKey {
		if class == "" || of.class == rpc.ComponentType(class) {
			out = append(out, Entry{Class: of.class, Name: of.name, Status: b.Status, Summary: b.Summary, Runners: b.runners})
		}
	}
	slices.SortFunc(out, func(a, b Entry) int { return cmp.Or(cmp.Compare(a.Class, b.Class), cmp.Compare(a.Name, b.Name)) })
	return out, nil
}

func checkClass(class string) error {
	var classes []string
	for _, c := range rpc.ComponentTypes() {
		classes = append(classes, string(c))
	}
	if slices.Contains(classes, class) {
		return nil
	}
	if near := nearest(class, classes); len(near) > 0 {
		return fmt.Errorf("class of components %q: %w: did you mean %s?", class, ErrNoComponent, strings.Join(near, " or "))
	}
	return fmt.Errorf("class of components %q: %w: there are %s", class, ErrNoComponent, strings.Join(classes, ", "))
}

// find is the component of a class. An error that wraps ErrNoComponent names those
// whose names are near.
func (l *Library) find(class, name string) (*book, error) {
	if err := checkClass(class); err != nil {
		return nil, err
	}
	if b := l.byKey[key{rpc.ComponentType(class), name}]; b != nil {
		return b, nil
	}
	var names, elsewhere []string
	for of := range l.byKey {
		switch {
		case of.class == rpc.ComponentType(class):
			names = append(names, of.name)
		case of.name == name:
			elsewhere = append(elsewhere, fmt.Sprintf("the %s %s", of.class, name))
		}
	}
	slices.Sort(elsewhere)
	if near := append(nearest(name, names), elsewhere...); len(near) > 0 {
		return nil, fmt.Errorf("%s %q: %w: did you mean %s?", class, name, ErrNoComponent, strings.Join(near, " or "))
	}
	named := Named{Refs: []Ref{{Class: rpc.ComponentType(class), Name: name}}}
	for _, r := range l.whole.runners {
		if r.Carries(named) {
			return nil, fmt.Errorf("%s %q: %w: the runner %s does not have it, and %s has", class, name, ErrNoComponent, l.runner, r.Name)
		}
	}
	if known := l.whole.index.with(named); known != nil {
		return nil, fmt.Errorf("%s %q: %w: the runner %s has it, and `make %s` builds that", class, name, ErrNoComponent, known.Name, target(known.Name))
	}
	return nil, fmt.Errorf("%s %q: %w: GET /components?class=%s lists what there is", class, name, ErrNoComponent, class)
}

// nearest are the words that may have been meant, the most likely first: those with
// the fewest slips, of two at most, or else those that hold the word or are held by
// it.
func nearest(word string, words []string) []string {
	const most, slips, least = 3, 2, 3
	distance := map[string]int{}
	for _, w := range words {
		if len(word) > len(w)+slips {
			continue
		}
		if n := levenshtein.ComputeDistance(strings.ToLower(word), w); n <= slips && n < len(w) {
			distance[w] = n
		}
	}
	if len(distance) == 0 && len(word) >= least {
		for _, w := range words {
			if strings.Contains(w, strings.ToLower(word)) || len(w) >= least && strings.Contains(strings.ToLower(word), w) {
				distance[w] = max(len(w)-len(word), len(word)-len(w))
			}
		}
	}
	near := make([]string, 0, len(distance))
	for w := range distance {
		near = append(near, w)
	}
	slices.SortFunc(near, func(a, b string) int { return cmp.Or(cmp.Compare(distance[a], distance[b]), cmp.Compare(a, b)) })
	return near[:min(len(near), most)]
}
