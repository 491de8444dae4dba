package supervisor

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"go.uber.org/zap"

	"penstock/rpc"
	"penstock/supervisor/catalogue"
	"penstock/supervisor/document"
)

// fileRunners choose runners for files, where there is no server.
type fileRunners struct {
	installed *catalogue.Installed
	templates []rpc.Template
	// scratch is removed at the end; empty when what runners say is kept.
	scratch string
}

// newFileRunners looks for runners beside the core runner. templates are globs; of
// what cannot be read the engine tells.
func newFileRunners(core string, templates []string) (*fileRunners, error) {
	core, err := filepath.Abs(core)
	if err != nil {
		return nil, fmt.Errorf("finding the runner %q: %w", core, err)
	}
	f := &fileRunners{}
	cache, err := os.UserCacheDir()
	if err == nil {
		cache = filepath.Join(cache, "penstock", runnersDir)
	} else if f.scratch, err = os.MkdirTemp("", "penstock-runners-"); err != nil {
		return nil, fmt.Errorf("making a folder for what runners say: %w", err)
	} else {
		cache = f.scratch
	}
	for _, glob := range templates {
		paths, _ := filepath.Glob(glob)
		for _, path := range paths {
			if text, err := os.ReadFile(path); err == nil {
				f.templates = append(f.templates, rpc.Template{Path: path, Text: text})
			}
		}
	}
	f.installed = catalogue.New(catalogue.Config{Core: core, CacheDir: cache}, zap.NewNop())
	return f, nil
}

func (f *fileRunners) close() {
	f.installed.Close()
	if f.scratch != "" {
		_ = os.RemoveAll(f.scratch)
	}
}

// choose is the path of the runner that is wanted, or of the smallest that has what
// all the documents name. An *InvalidError says that there is none.
func (f *fileRunners) choose(ctx context.Context, wanted string, docs ...*document.Document) (string, error) {
	values := make([]any, len(docs))
	for i, doc := range docs {
		values[i] = doc.Value()
	}
	templated := func(c *catalogue.Catalogue) *catalogue.Catalogue { return c.WithTemplates(f.templates) }
	runner, _, err := chooseRunner(ctx, f.installed, templated, wanted, func(c *catalogue.Catalogue) catalogue.Named {
		var named catalogue.Named
		for _, value := range values {
			named = named.And(c.Named(value))
		}
		return named
	})
	if err != nil {
		return "", err
	}
	return runner.Path, nil
}
