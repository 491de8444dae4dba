package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"penstock/supervisor"
	"penstock/supervisor/document"
)

// loader puts what files define into a supervisor.
type loader struct {
	sup *supervisor.Supervisor
	log *zap.Logger
	// chilled makes lint errors warnings.
	chilled bool
	// limit is how many streams are created at the same time.
	limit int
}

// fileResource is a resource and the file that defines it.
type fileResource struct {
	document.Resource
	path string
}

// resources loads the resource files that the globs match.
func (l *loader) resources(ctx context.Context, globs []string) error {
	pending, err := readResources(globs, l.log)
	if err != nil {
		return err
	}
	// One may refer to another that comes later or in another file, so those
	// that were refused are tried again for as long as others were not.
	for len(pending) > 0 {
		var refused []fileResource
		var errs []error
		for _, r := range pending {
			err := l.tolerate(r.path, func(ch supervisor.Change) error {
				return l.sup.PutResource(ctx, r.Type, r.ID, r.Doc, ch)
			})
			if err != nil {
				refused = append(refused, r)
				errs = append(errs, fmt.Errorf("%s: %w", r.path, err))
			}
		}
		if len(refused) == len(pending) {
			return errors.Join(errs...)
		}
		pending = refused
	}
	return nil
}

// readResources reads the resource files that the globs match.
func readResources(globs []string, log *zap.Logger) ([]fileResource, error) {
	paths, err := expandGlobs(globs, log)
	if err != nil {
		return nil, err
	}
	var found []fileResource
	first := map[string]string{}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("cannot read a resource file: %w", err)
		}
		resources, err := document.ParseResources(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		for _, r := range resources {
			// Labels are unique over all types.
			if other, taken := first[r.ID]; taken {
				return nil, fmt.Errorf("resource label %q is given twice, by %s and by %s: rename one", r.ID, other, path)
			}
			first[r.ID] = path
			found = append(found, fileResource{r, path})
		}
	}
	return found, nil
}

// streams creates the streams of the files and returns the texts of the files.
// Every file is tried, so that the error tells of all that need mending.
func (l *loader) streams(ctx context.Context, files []streamFile) ([][]byte, error) {
	texts := make([][]byte, len(files))
	errs := make([]error, len(files))
	var group errgroup.Group
	group.SetLimit(l.limit)
	for i, file := range files {
		group.Go(func() error {
			if texts[i], errs[i] = l.stream(ctx, file); errs[i] != nil {
				errs[i] = fmt.Errorf("%s: %w", file.path, errs[i])
			}
			return nil
		})
	}
	_ = group.Wait() // It holds no error: they are in errs.
	return texts, errors.Join(errs...)
}

func (l *loader) stream(ctx context.Context, file streamFile) ([]byte, error) {
	// A signal must not wait for the files that have not been tried.
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	text, err := os.ReadFile(file.path)
	if err != nil {
		return nil, err
	}
	doc, err := document.Parse(text)
	if err != nil {
		return nil, err
	}
	return text, l.tolerate(file.path, func(ch supervisor.Change) error {
		ch.AllowTests = true
		return l.sup.Create(ctx, file.id, doc, ch)
	})
}

// tolerate makes a change that a file asks for. When that is refused for its
// lint errors and these are to be warnings, it logs them and insists.
func (l *loader) tolerate(path string, change func(supervisor.Change) error) error {
	err := change(supervisor.Change{})
	var lint *supervisor.LintError
	if !l.chilled || !errors.As(err, &lint) {
		return err
	}
	for _, finding := range lint.Lints {
		l.log.Warn("lint error", zap.String("file", path), zap.String("lint", finding))
	}
	return change(supervisor.Change{Chilled: true})
}
