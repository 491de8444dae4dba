package supervisor

import (
	"fmt"
	"maps"
	"slices"

	"penstock/supervisor/document"
	"penstock/supervisor/options"
	"penstock/supervisor/store"
)

// optionsKey is the top-level key of a config that is the supervisor's own.
const optionsKey = "runtime"

// spec is what a stream is to run. It never changes; a change makes a new one.
type spec struct {
	// doc is the config as it was posted.
	doc *document.Document
	// engine is the config without what is the supervisor's.
	engine     *document.Document
	options    options.Options
	chilled    bool
	allowTests bool
	// fault says why a stored config cannot be started any more.
	fault string
}

// newSpec takes a config apart, within what the operator allows. What is wrong with the supervisor's part is a
// *LintError, which no request can override.
func newSpec(doc *document.Document, chilled, allowTests bool, allowed options.Allowed) (spec, error) {
	engine, block, err := doc.Split(optionsKey)
	if err != nil {
		return spec{}, &InvalidError{err.Error()}
	}
	opts, lints := options.Parse(block, allowed)
	if len(lints) > 0 {
		out := &LintError{}
		for _, l := range lints {
			out.Lints = append(out.Lints, fmt.Sprintf("(%d,%d) %s", l.Line, l.Column, l.Message))
		}
		return spec{}, out
	}
	return spec{doc: doc, engine: engine, options: opts, chilled: chilled, allowTests: allowTests}, nil
}

func (sp spec) equal(other spec) bool {
	return sp.chilled == other.chilled && sp.doc.Equal(other.doc)
}

// sameForEngine says that a runner of one serves the other as well: what
// differs can be changed while it runs.
func (sp spec) sameForEngine(other spec) bool {
	return sp.chilled == other.chilled && sp.allowTests == other.allowTests && sp.engine.Equal(other.engine) && sp.options.Runner == other.options.Runner &&
		maps.Equal(sp.options.Env, other.options.Env) && sp.options.HTTP.Listen == other.options.HTTP.Listen && sameSandbox(sp.options.Sandbox, other.options.Sandbox)
}

func sameSandbox(a, b options.Sandbox) bool {
	return slices.Equal(a.Read, b.Read) && slices.Equal(a.Write, b.Write)
}

// definition is the spec as the store keeps it.
func (sp spec) definition() store.Definition {
	return store.Definition{Config: textOf(sp.doc), Chilled: sp.chilled, AllowTests: sp.allowTests}
}

// textOf is what makes an equal document when it is parsed again.
func textOf(doc *document.Document) []byte {
	text := doc.Source()
	if text == nil {
		text = doc.Text()
	}
	return slices.Clone(text)
}

func orAPI(origin store.Origin) store.Origin {
	if origin == "" {
		return store.OriginAPI
	}
	return origin
}

// specOf reads a definition of the store. What was allowed when it was kept is
// not asked again: limits are bounded by the present ceilings at each start.
func specOf(def store.Definition) (spec, error) {
	doc, err := document.Parse(def.Config)
	if err != nil {
		return spec{}, err
	}
	return newSpec(doc, def.Chilled, def.AllowTests, options.Allowed{})
}
