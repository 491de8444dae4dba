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
			if text, err := readFile(path); err == nil {
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
			named = named.And(c.Named(value)).And(namedByTests(c, value))
		}
		return named
	})
	if err != nil {
		return "", err
	}
	return runner.Path, nil
}

// longestFile bounds the files that are read outside of the processes that lint: a
// config of a few MB is a very long one.
const longestFile = 32 << 20

// readFile reads a file of which it is certain that it ends. Of any other, such as a
// pipe that nobody writes to, a process tells that may be killed.
func readFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular() || info.Size() > longestFile:
		return nil, fmt.Errorf("%s is no file of %d MiB at most", path, longestFile>>20)
	}
	return os.ReadFile(path)
}

// namedByTests is what a file names that is no stream's: the processors that unit
// tests put in the place of others, and, in a template, what that makes.
func namedByTests(c *catalogue.Catalogue, value any) (out catalogue.Named) {
	file, _ := value.(map[string]any)
	tests, _ := file["tests"].([]any)
	for _, test := range tests {
		of, _ := test.(map[string]any)
		mocks, _ := of["mocks"].(map[string]any)
		for label, mock := range mocks {
			out = out.And(c.NamedBy(rpc.TypeProcessor, mock, "tests.mocks."+label))
		}
	}
	name, isTemplate := file["name"].(string)
	class, _ := file["type"].(string)
	if _, maps := file["mapping"].(string); isTemplate && maps {
		out = out.And(c.NamedBy(rpc.ComponentType(class), map[string]any{name: nil}, name))
	}
	return out
}
