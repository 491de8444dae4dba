package supervisor

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"path/filepath"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"penstock/rpc"
	"penstock/supervisor/catalogue"
	"penstock/supervisor/document"
)

// runnersDir is the folder of what runners have said of themselves, below the data
// folder.
const runnersDir = "runners"

// newInstalled looks for the runners that are installed beside the core runner's
// binary.
func newInstalled(cfg Config, core string, c *confiner, log *zap.Logger) (*catalogue.Installed, error) {
	others, err := cfg.otherRunners()
	if err != nil {
		return nil, err
	}
	return catalogue.New(catalogue.Config{
		Core: core, Others: others, CacheDir: filepath.Join(cfg.DataDir, runnersDir), Usable: c.enterable,
	}, log), nil
}

// choice is a runner with the resources that it is to have.
type choice struct {
	runner    *catalogue.Runner
	resources map[string]storedResource
}

// choose finds the runner for a stream: the one that its config asks for, or the
// smallest that has what the config and those resources name that it mentions and
// has an instance of. Of
// the resources that it does not mention it gets those that its runner can carry.
// The error wraps ErrInvalid.
func (s *Supervisor) choose(ctx context.Context, sp spec, byID map[string]storedResource) (choice, error) {
	// A config is read once, and only where it has not been read before.
	return s.chooseOf(ctx, sp.options.Runner, byID, instances(mentioned(sp.engine, byID), byID), func(c *catalogue.Catalogue) catalogue.Named {
		return c.Named(sp.engine.Value())
	})
}

// chooseFor is choose for a runner that only checks the resource with the id.
func (s *Supervisor) chooseFor(ctx context.Context, id string, byID map[string]storedResource) (choice, error) {
	needed := instances(mentioned(byID[id].doc, byID), byID)
	needed[id] = true
	return s.chooseOf(ctx, "", byID, needed, nothingElse)
}

// chooseForHost is choose for the resource host: the runner that is wanted, or the
// smallest that has what all shared resources name.
func (s *Supervisor) chooseForHost(ctx context.Context, wanted string, byID map[string]storedResource) (choice, error) {
	needed := map[string]bool{}
	for id, res := range byID {
		needed[id] = sharedType(res.typ)
	}
	maps.DeleteFunc(needed, func(_ string, is bool) bool { return !is })
	return s.chooseOf(ctx, wanted, byID, needed, nothingElse)
}

// chooseHere is choose for whatever has that id. The host is started even where no
// runner has all of what it is to have, for what it can have.
func (s *Supervisor) chooseHere(ctx context.Context, id string, sp spec, byID map[string]storedResource) (choice, error) {
	if id != hostID {
		return s.choose(ctx, sp, byID)
	}
	chosen, err := s.chooseForHost(ctx, "", byID)
	if errors.Is(err, ErrInvalid) {
		s.log.Error("the resource host is started without some resources, for which streams wait", zap.Error(err))
		if chosen, err = s.chooseOf(ctx, "", byID, nil, nothingElse); err == nil {
			chosen.resources = byID
		}
	}
	return chosen, err
}

func nothingElse(*catalogue.Catalogue) catalogue.Named { return catalogue.Named{} }

// instances are those of the resources that a runner has an instance of its own
// of.
func instances(ids map[string]bool, byID map[string]storedResource) map[string]bool {
	maps.DeleteFunc(ids, func(id string, _ bool) bool { return sharedType(byID[id].typ) })
	return ids
}

func (s *Supervisor) chooseOf(ctx context.Context, wanted string, byID map[string]storedResource, needed map[string]bool,
	read func(*catalogue.Catalogue) catalogue.Named,
) (choice, error) {
	runner, known, err := chooseRunner(ctx, s.installed, s.templates.in, wanted, func(c *catalogue.Catalogue) catalogue.Named {
		named := read(c)
		for id := range needed {
			named = named.And(byID[id].named(c, id))
		}
		return named
	})
	if err != nil {
		return choice{}, err
	}
	return choice{runner, carried(runner, known, byID, needed)}, nil
}

// chooseRunner finds the runner that is wanted, or the smallest that has what is
// named, by what read finds in a catalogue with the templates. What it was found
// in comes with it. An *InvalidError says that there is none.
func chooseRunner(ctx context.Context, installed *catalogue.Installed, templated func(*catalogue.Catalogue) *catalogue.Catalogue,
	wanted string, read func(*catalogue.Catalogue) catalogue.Named,
) (*catalogue.Runner, *catalogue.Catalogue, error) {
	view := installed.Now()
	known, whole, err := view.Known(ctx)
	for ; err == nil; known, err = view.Whole(ctx) {
		known := templated(known)
		named := read(known)
		runner, err := known.Choose(wanted, named)
		// What the core runner has of it all needs no other, so that nobody has to
		// wait for what others say.
		if !whole && (err != nil || named.Open || named.Templated) {
			whole = true
			continue
		}
		if err != nil {
			return nil, nil, &InvalidError{err.Error()}
		}
		return runner, known, nil
	}
	return nil, nil, err
}

// carried are the resources of byID that a runner is given: those that are needed
// or shared, and those which it has the components of.
func carried(r *catalogue.Runner, known *catalogue.Catalogue, byID map[string]storedResource, needed map[string]bool) map[string]storedResource {
	out := maps.Clone(byID)
	maps.DeleteFunc(out, func(id string, res storedResource) bool {
		if needed[id] || sharedType(res.typ) {
			return false
		}
		named := res.named(known, id)
		// A place that names nothing known is nothing that it could build.
		return !r.Carries(named) || named.Open && r.Fault == nil
	})
	return out
}

// componentsOf are the components that a resource names, as one catalogue knows
// them.
type componentsOf struct{ last atomic.Pointer[namedBy] }

type namedBy struct {
	catalogue *catalogue.Catalogue
	named     catalogue.Named
}

// named lists what the resource names.
func (r storedResource) named(by *catalogue.Catalogue, id string) catalogue.Named {
	if last := r.components.last.Load(); last != nil && last.catalogue == by {
		return last.named
	}
	named := by.NamedBy(rpc.ComponentType(r.typ), valueOf(r.doc), r.typ+" resource "+id)
	r.components.last.Store(&namedBy{by, named})
	return named
}

// valueOf is a config that is never nil, which would be nothing to look at.
func valueOf(doc *document.Document) any {
	if value := doc.Value(); value != nil {
		return value
	}
	return map[string]any{}
}

// RunnerVersion is the version of the core runner's binary as it is on disk now:
// that of the runners that are started from now on. It is empty when the binary
// does not tell.
func (s *Supervisor) RunnerVersion() string {
	early, err := s.installed.Now().Early(s.root)
	if err != nil || len(early.Runners()) == 0 {
		return ""
	}
	return early.Runners()[0].Version
}

// versionTime bounds how long runners may take to tell their versions, from the time
// when they were found.
const versionTime = 5 * time.Second

// RunnerVersions are the versions of the runners that are installed now and can be
// used, by their names, as far as they have told them.
func (s *Supervisor) RunnerVersions() map[string]string {
	out := map[string]string{}
	for _, r := range s.installed.Now().Told(s.root, versionTime) {
		out[r.Name] = r.Version
	}
	return out
}

// withLibrary has use read what the installed runners say of their components, or
// one of them. One after the other: it is some MB, and many may ask at once.
func (s *Supervisor) withLibrary(ctx context.Context, runner string, use func(*catalogue.Library) error) error {
	s.libraries.Lock()
	defer s.libraries.Unlock()
	library, err := s.installed.Library(ctx, runner)
	if errors.Is(err, catalogue.ErrClosed) {
		return ErrClosed
	}
	if err != nil {
		return err
	}
	return use(library)
}

// Components lists the components that the installed runners carry, or one of
// them, of a class or of all. The error wraps ErrNoComponent for a class or runner
// that there is not.
func (s *Supervisor) Components(ctx context.Context, class, runner string) (list []catalogue.Entry, err error) {
	err = s.withLibrary(ctx, runner, func(l *catalogue.Library) (err error) {
		list, err = l.List(class)
		return err
	})
	return list, err
}

// Component is the schema of a component's config, as the smallest runner that has
// it describes it, or the one that is named. The error wraps ErrNoComponent.
func (s *Supervisor) Component(ctx context.Context, class, name, runner string) (schema catalogue.Schema, err error) {
	err = s.withLibrary(ctx, runner, func(l *catalogue.Library) (err error) {
		schema, err = l.Component(class, name)
		return err
	})
	return schema, err
}

// ConfigSchema is the schema of a stream's config with the components of all
// installed runners, or of one, in JSON. The error wraps ErrNoComponent.
func (s *Supervisor) ConfigSchema(ctx context.Context, runner string) (text json.RawMessage, err error) {
	err = s.withLibrary(ctx, runner, func(l *catalogue.Library) (err error) {
		text, err = json.Marshal(l.Whole())
		return err
	})
	return text, err
}
