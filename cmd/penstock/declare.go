package main

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"go.uber.org/zap"

	"penstock/supervisor"
	"penstock/supervisor/document"
)

// source names the files that define streams and resources.
type source struct {
	// args are the files, folders and globs of streams.
	args []string
	// resources are the globs of resource files.
	resources []string
	// templates are the globs of template files.
	templates []string
	// chilled makes lint errors warnings.
	chilled bool
}

// read reads all files. What it could read is returned whatever else failed.
func (s source) read(log *zap.Logger) (supervisor.Declarations, []failure) {
	declared := supervisor.Declarations{Chilled: s.chilled}
	templates, failures := readTemplates(s.templates, log)
	declared.Templates = templates
	files, failed := findStreams(s.args, log)
	failures = append(failures, failed...)
	for _, file := range files {
		text, doc, err := readConfig(file.path)
		if err != nil {
			failures = append(failures, failure{path: file.path, err: fmt.Errorf("%s: %w", file.path, err)})
			continue
		}
		declared.Streams = append(declared.Streams, supervisor.StreamFile{ID: file.id, Path: file.path, Text: text, Document: doc})
	}
	resources, failed := readResources(s.resources, log)
	declared.Resources = resources
	return declared, append(failures, failed...)
}

// readTemplates reads the template files that the globs match.
func readTemplates(globs []string, log *zap.Logger) (found []supervisor.TemplateFile, failures []failure) {
	paths, failures := expandGlobs(globs, log)
	for _, path := range paths {
		text, err := readRegular(path)
		if err != nil {
			failures = append(failures, failure{path: path, err: fmt.Errorf("cannot read a template file: %w", err)})
			continue
		}
		found = append(found, supervisor.TemplateFile{Path: path, Text: text})
	}
	return found, failures
}

// errEmpty is for a file that is being written, as a rule.
var errEmpty = errors.New("the file is empty: write the stream's config into it, or remove it")

func readConfig(path string) ([]byte, *document.Document, error) {
	text, err := readRegular(path)
	if err != nil {
		return nil, nil, err
	}
	doc, err := document.Parse(text)
	if err == nil && doc.Value() == nil {
		return nil, nil, errEmpty
	}
	return text, doc, err
}

// readResources reads the resource files that the globs match.
func readResources(globs []string, log *zap.Logger) (found []supervisor.ResourceFile, failures []failure) {
	paths, failures := expandGlobs(globs, log)
	first := map[string]string{}
	claimed := map[string]bool{}
	for _, path := range paths {
		text, err := readRegular(path)
		if err != nil {
			failures = append(failures, failure{path: path, err: fmt.Errorf("cannot read a resource file: %w", err)})
			continue
		}
		resources, err := document.ParseResources(text)
		if err != nil {
			failures = append(failures, failure{path: path, err: fmt.Errorf("%s: %w", path, err)})
			continue
		}
		for _, r := range resources {
			// Labels are unique over all types.
			if other, taken := first[r.ID]; taken {
				claimed[r.ID] = true
				failures = append(failures, failure{
					key: resourceKey(r.ID), err: fmt.Errorf("resource label %q is given twice, by %s and by %s: rename one", r.ID, other, path),
				})
				continue
			}
			first[r.ID] = path
			found = append(found, supervisor.ResourceFile{Type: r.Type, ID: r.ID, Path: path, Text: text, Document: r.Doc})
		}
	}
	return slices.DeleteFunc(found, func(r supervisor.ResourceFile) bool { return claimed[r.ID] }), failures
}

// keep adds to what was read now what was read before of the files that
// cannot be read now: what they define is to stay as it is.
func keep(now, before supervisor.Declarations, failures []failure) supervisor.Declarations {
	hidden := func(key, path string) bool {
		return slices.ContainsFunc(failures, func(f failure) bool { return f.hides(key, path) })
	}
	for _, old := range before.Templates {
		there := func(f supervisor.TemplateFile) bool { return f.Path == old.Path }
		if hidden("", old.Path) && !slices.ContainsFunc(now.Templates, there) {
			now.Templates = append(now.Templates, old)
		}
	}
	for _, old := range before.Streams {
		there := func(f supervisor.StreamFile) bool { return f.ID == old.ID }
		if hidden(streamKey(old.ID), old.Path) && !slices.ContainsFunc(now.Streams, there) {
			now.Streams = append(now.Streams, old)
		}
	}
	for _, old := range before.Resources {
		there := func(f supervisor.ResourceFile) bool { return f.ID == old.ID }
		if hidden(resourceKey(old.ID), old.Path) && !slices.ContainsFunc(now.Resources, there) {
			now.Resources = append(now.Resources, old)
		}
	}
	return now
}

// same says that two readings found the same texts in the same places.
func same(a, b supervisor.Declarations) bool {
	return slices.EqualFunc(a.Templates, b.Templates, func(x, y supervisor.TemplateFile) bool {
		return x.Path == y.Path && bytes.Equal(x.Text, y.Text)
	}) && slices.EqualFunc(a.Streams, b.Streams, func(x, y supervisor.StreamFile) bool {
		return x.ID == y.ID && x.Path == y.Path && bytes.Equal(x.Text, y.Text)
	}) && slices.EqualFunc(a.Resources, b.Resources, func(x, y supervisor.ResourceFile) bool {
		return x.ID == y.ID && x.Type == y.Type && x.Path == y.Path && bytes.Equal(x.Text, y.Text)
	})
}
