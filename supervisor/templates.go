package supervisor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"go.uber.org/zap"

	"penstock/rpc"
	"penstock/supervisor/catalogue"
	"penstock/supervisor/offline"
)

// templateSet is what every runner that is prepared from now on is given.
type templateSet struct {
	present atomic.Pointer[[]rpc.Template]
	// known is the last catalogue that was asked for.
	known atomic.Pointer[templatedCatalogue]
}

// templatedCatalogue is a catalogue with the templates of a list.
type templatedCatalogue struct {
	of   *[]rpc.Template
	from *catalogue.Catalogue
	with *catalogue.Catalogue
}

// in is a catalogue with the templates: the same for the same.
func (t *templateSet) in(c *catalogue.Catalogue) *catalogue.Catalogue {
	list := t.present.Load()
	if list == nil {
		return c
	}
	if last := t.known.Load(); last != nil && last.of == list && last.from == c {
		return last.with
	}
	next := &templatedCatalogue{list, c, c.WithTemplates(*list)}
	t.known.Store(next)
	return next.with
}

// all must not be modified.
func (t *templateSet) all() []rpc.Template {
	if list := t.present.Load(); list != nil {
		return *list
	}
	return nil
}

// templateCheckBytes bounds the process that checks templates.
const templateCheckBytes = 1 << 30

// UseTemplates has the files define components for every runner that is prepared
// from now on, in the place of those before; a stream that runs keeps what it was
// built with. They are checked first, in a process of their own and under the
// policy that streams have: with an error, which names file and line, nothing is
// changed. Lint errors refuse them too, unless chilled.
func (s *Supervisor) UseTemplates(ctx context.Context, files []TemplateFile, chilled bool) error {
	list := make([]rpc.Template, len(files))
	for i, file := range files {
		list[i] = rpc.Template{Path: file.Path, Text: file.Text}
	}
	same := func(a, b rpc.Template) bool { return a.Path == b.Path && bytes.Equal(a.Text, b.Text) }
	if slices.EqualFunc(list, s.templates.all(), same) {
		return nil
	}
	checker := offline.NewLinter(offline.Options{
		Binary: s.launcher.Binary(), Memory: templateCheckBytes, Timeout: s.cfg.Timeouts.Start + s.cfg.Timeouts.Prepare,
	})
	defer checker.Close()
	var errs []error
	for _, t := range list {
		// One after the other, so that it is known which one a process dies of.
		answer, err := checker.Ask(ctx, rpc.LintRequest{Templates: []rpc.Template{t}, Policy: &s.confiner.policies})
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, offline.ErrDied):
			errs = append(errs, fmt.Errorf("template %s: %w", t.Path, err))
			continue
		case err != nil:
			return fmt.Errorf("checking the templates: %w", err)
		case answer.Fault != "":
			errs = append(errs, errors.New(answer.Fault))
		}
		for _, l := range answer.Lints {
			if chilled {
				s.log.Warn("lint error", zap.String("file", t.Path), zap.String("lint", l.String()))
				continue
			}
			errs = append(errs, fmt.Errorf("template %s%s", t.Path, l))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	s.templates.present.Store(&list)
	return nil
}
