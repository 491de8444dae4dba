package supervisor

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"penstock/supervisor/document"
	"penstock/supervisor/store"
)

// Declarations are the streams and resources that files define. Together they
// are all that files define: what an earlier call named and this one does not
// is removed, unless somebody has changed it through the API.
type Declarations struct {
	// Templates define components that the streams and resources may use.
	Templates []TemplateFile
	Streams   []StreamFile
	Resources []ResourceFile
	// Chilled makes lint errors warnings.
	Chilled bool
}

// TemplateFile is a file that defines a component of the engine in terms of others.
type TemplateFile struct {
	Path string
	Text []byte
}

// StreamFile is a file that defines a stream.
type StreamFile struct {
	ID, Path string
	Text     []byte
	Document *document.Document
}

// ResourceFile is a resource and the file that defines it.
type ResourceFile struct {
	Type, ID, Path string
	Text           []byte
	Document       *document.Document
}

// Declare puts files into force. A file that has been put into force before
// and has not changed since is passed over: what the API has made of its
// stream meanwhile, its end too, stands until the file changes. A stream that
// the API has created is never taken over by a file.
//
// Every file is tried. The error joins the faults, each with its file's path.
func (s *Supervisor) Declare(ctx context.Context, d Declarations) error {
	s.declaring.Lock()
	defer s.declaring.Unlock()
	faults := &faultList{}
	if err := s.UseTemplates(ctx, d.Templates, d.Chilled); err != nil {
		// Those before stay. What needs the new ones is refused and says why.
		faults.errs = append(faults.errs, err)
	}
	named := map[string]bool{}
	s.declareResources(ctx, d, named, faults)

	var group errgroup.Group
	group.SetLimit(s.cfg.Concurrency)
	for _, file := range d.Streams {
		key := streamKey(file.ID)
		named[key] = true
		put := store.Declaration{Path: file.Path, Hash: hashOf(file.Text)}
		if before, _ := s.declared.get(key); before.Hash == put.Hash {
			continue
		}
		group.Go(func() error {
			faults.add(file.Path, s.declareStream(ctx, file, put, d.Chilled))
			return nil
		})
	}
	_ = group.Wait() // It holds no error: they are in faults.
	if ctx.Err() == nil {
		s.undeclare(ctx, named, faults)
	}
	return faults.join()
}

func streamKey(id string) string   { return "stream/" + id }
func resourceKey(id string) string { return "resource/" + id }

func hashOf(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// faultList collects faults from several goroutines.
type faultList struct {
	mu   sync.Mutex
	errs []error
}

func (f *faultList) add(path string, err error) {
	if err == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.errs = append(f.errs, fmt.Errorf("%s: %w", path, err))
}

func (f *faultList) join() error { return errors.Join(f.errs...) }

// declareStream makes or changes the stream of a file.
func (s *Supervisor) declareStream(ctx context.Context, file StreamFile, put store.Declaration, chilled bool) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	_, declared := s.declared.get(streamKey(file.ID))
	st, err := s.find(file.ID)
	switch {
	case errors.Is(err, ErrNotFound):
		err = s.tolerate(file.Path, chilled, func(ch Change) error {
			return s.Create(ctx, file.ID, file.Document, ch)
		})
	case err != nil:
		return err
	case st.seen.Load().origin == store.OriginAPI && !declared:
		s.log.Warn("the file is ignored: the API created a stream of that id; delete it or rename the file",
			zap.String("stream", file.ID), zap.String("file", file.Path))
		return nil
	case st.seen.Load().origin == store.OriginFile && st.seen.Load().spec.doc.Equal(file.Document):
		// Another text of the same value.
		err = nil
	default:
		err = s.tolerate(file.Path, chilled, func(ch Change) error {
			return s.Update(ctx, file.ID, file.Document, ch)
		})
	}
	if err != nil {
		return err
	}
	return s.declared.put(s.store, streamKey(file.ID), put)
}

// tolerate makes a change that a file asks for. When that is refused for its
// lint errors and these are to be warnings, it logs them and insists.
func (s *Supervisor) tolerate(path string, chilled bool, change func(Change) error) error {
	ch := Change{AllowTests: true, origin: store.OriginFile}
	err := change(ch)
	var lint *LintError
	if !chilled || !errors.As(err, &lint) {
		return err
	}
	for _, finding := range lint.Lints {
		s.log.Warn("lint error", zap.String("file", path), zap.String("lint", finding))
	}
	ch.Chilled = true
	return change(ch)
}

// declareResources puts resource files into force. One may refer to another
// that comes later, so those that were refused are tried again for as long as
// others were not.
func (s *Supervisor) declareResources(ctx context.Context, d Declarations, named map[string]bool, faults *faultList) {
	var pending []ResourceFile
	for _, file := range d.Resources {
		key := resourceKey(file.ID)
		named[key] = true
		if before, _ := s.declared.get(key); before.Hash != resourceHash(file) {
			pending = append(pending, file)
		}
	}
	for len(pending) > 0 {
		var refused []ResourceFile
		var errs []error
		for _, file := range pending {
			if err := s.declareResource(ctx, file, d.Chilled); err != nil {
				refused = append(refused, file)
				errs = append(errs, err)
			}
		}
		if len(refused) == len(pending) {
			for i, file := range refused {
				faults.add(file.Path, errs[i])
			}
			return
		}
		pending = refused
	}
}

// resourceHash is of the resource alone: a file may hold several.
func resourceHash(file ResourceFile) string {
	return hashOf([]byte(file.Type + "\n" + string(file.Document.Text())))
}

func (s *Supervisor) declareResource(ctx context.Context, file ResourceFile, chilled bool) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	old, found := s.resources.snapshot()[file.ID]
	if _, declared := s.declared.get(resourceKey(file.ID)); found && old.origin == store.OriginAPI && !declared {
		s.log.Warn("the file's resource is ignored: the API created one of that label; delete it or rename the file's",
			zap.String("resource", file.ID), zap.String("file", file.Path))
		return nil
	}
	if !found || old.origin != store.OriginFile || old.typ != file.Type || !old.doc.Equal(file.Document) {
		err := s.tolerate(file.Path, chilled, func(ch Change) error {
			return s.PutResource(ctx, file.Type, file.ID, file.Document, ch)
		})
		if err != nil {
			return err
		}
	}
	return s.declared.put(s.store, resourceKey(file.ID), store.Declaration{Path: file.Path, Hash: resourceHash(file)})
}

// undeclare removes what files defined before and none defines any more:
// streams first, since they may use the resources.
func (s *Supervisor) undeclare(ctx context.Context, named map[string]bool, faults *faultList) {
	for _, prefix := range []string{streamKey(""), resourceKey("")} {
		var wg sync.WaitGroup
		for key, d := range s.declared.all() {
			id, of := strings.CutPrefix(key, prefix)
			if !of || named[key] {
				continue
			}
			wg.Go(func() { faults.add(d.Path, s.undeclareOne(ctx, key, id, prefix == streamKey(""))) })
		}
		wg.Wait()
	}
}

func (s *Supervisor) undeclareOne(ctx context.Context, key, id string, isStream bool) error {
	var err error
	if isStream {
		var st *stream
		if st, err = s.find(id); err == nil && st.seen.Load().origin == store.OriginFile {
			err = s.Delete(ctx, id, 0)
		}
	} else if res, found := s.resources.snapshot()[id]; found && res.origin == store.OriginFile {
		err = s.DeleteResource(ctx, res.typ, id)
	}
	if err != nil && !errors.Is(err, ErrNotFound) {
		return fmt.Errorf("the file does not define %s any more: %w", strings.Replace(key, "/", " ", 1), err)
	}
	return s.declared.drop(s.store, key)
}

// declaredFiles are the files that have been put into force, by what they
// define. The store has them too.
type declaredFiles struct {
	mu    sync.Mutex
	byKey map[string]store.Declaration
}

func (d *declaredFiles) get(key string) (store.Declaration, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	put, found := d.byKey[key]
	return put, found
}

func (d *declaredFiles) all() map[string]store.Declaration {
	d.mu.Lock()
	defer d.mu.Unlock()
	return maps.Clone(d.byKey)
}

func (d *declaredFiles) put(to *store.Store, key string, put store.Declaration) error {
	if err := to.Update(func(tx *store.Tx) error { return tx.PutDeclaration(key, put) }); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.byKey[key] = put
	return nil
}

func (d *declaredFiles) drop(from *store.Store, key string) error {
	if err := from.Update(func(tx *store.Tx) error { return tx.DeleteDeclaration(key) }); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.byKey, key)
	return nil
}
