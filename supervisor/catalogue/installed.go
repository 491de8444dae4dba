package catalogue

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"penstock/rpc"
)

// Config says where runners are.
type Config struct {
	// Core is the path of the core runner's binary, which is absolute. Executables
	// beside it that are called as it is, with -NAME appended, are runners too.
	Core string
	// Others are the absolute paths of further runners by their names. One that
	// is beside the core runner under the same name does not count.
	Others map[string]string
	// CacheDir is where to keep what binaries have said.
	CacheDir string
	// Usable says why a binary at a path cannot be used, before it is asked
	// anything. It may be nil.
	Usable func(path string) error
}

const (
	// patience is how long a binary is left alone that could not describe itself,
	// and is the same file still.
	patience = 30 * time.Second
	// settling is for how long two changes of a folder may show the same time.
	settling = 100 * time.Millisecond
)

// Installed follows which runners are installed. Its methods may be called by
// several goroutines.
type Installed struct {
	cfg   Config
	cache cache
	log   *zap.Logger

	life    context.Context
	endLife context.CancelFunc
	running sync.WaitGroup

	mu    sync.Mutex
	round *round
	// again says that those are being asked again who could not describe themselves.
	again bool
}

// round describes what one look at the disk has found.
type round struct {
	found []found
	// passed are files that are called as runners are, and cannot be executed.
	passed []found
	// folder is what the folder of the core runner was, and looked when.
	folder file
	looked time.Time
	// core and all are set when early and whole are closed: early once the core
	// runner is described, whole once all are.
	early, whole chan struct{}
	core, all    *Catalogue
	// began is when it was begun, and told those that have described themselves by now.
	began time.Time
	told  struct {
		sync.Mutex
		runners []*Runner
	}
	// runners are those that were found, in that order, and described is when they
	// were; both are set with all.
	runners   []*Runner
	described time.Time
}

// New begins to look for runners. What it begins ends with Close.
func New(cfg Config, log *zap.Logger) *Installed {
	i := &Installed{cfg: cfg, cache: cache{cfg.CacheDir}, log: log}
	i.life, i.endLife = context.WithCancel(context.Background())
	i.look()
	return i
}

// Close ends what is being described, and waits for that.
func (i *Installed) Close() {
	i.endLife()
	i.running.Wait()
}

// View is what is known of the runners that are installed now.
type View struct{ round *round }

// Now looks at the disk. It does not wait for anybody.
func (i *Installed) Now() View { return View{i.look()} }

// Early is a catalogue of the core runner alone. It waits until that has described
// itself.
func (v View) Early(ctx context.Context) (*Catalogue, error) {
	return v.wait(ctx, v.round.early, &v.round.core)
}

// Whole is the catalogue of all runners. It waits until each has described itself.
func (v View) Whole(ctx context.Context) (*Catalogue, error) {
	return v.wait(ctx, v.round.whole, &v.round.all)
}

// Known is the catalogue of all runners where each has described itself, else that
// of the core runner alone.
func (v View) Known(ctx context.Context) (known *Catalogue, whole bool, err error) {
	select {
	case <-v.round.whole:
		known, err = v.Whole(ctx)
		return known, true, err
	default:
		known, err = v.Early(ctx)
		return known, false, err
	}
}

// Told are the runners that have described themselves and can be used, the smallest
// first. It waits for the others until so long after it was begun to ask them, or the
// context's end: one that hangs keeps nobody waiting again and again.
func (v View) Told(ctx context.Context, patience time.Duration) []*Runner {
	ctx, cancel := context.WithDeadline(ctx, v.round.began.Add(patience))
	defer cancel()
	select {
	case <-v.round.whole:
	case <-ctx.Done():
	}
	v.round.told.Lock()
	defer v.round.told.Unlock()
	return slices.SortedFunc(slices.Values(v.round.told.runners), smaller)
}

// tell takes note of a runner that has described itself.
func (r *round) tell(of *Runner) *Runner {
	if of.Fault == nil {
		r.told.Lock()
		defer r.told.Unlock()
		r.told.runners = append(r.told.runners, of)
	}
	return of
}

// ErrClosed is returned once Close was called.
var ErrClosed = errors.New("the runners are not looked for any more")

func (v View) wait(ctx context.Context, done chan struct{}, of **Catalogue) (*Catalogue, error) {
	select {
	case <-done:
		if *of == nil {
			return nil, ErrClosed
		}
		return *of, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// look returns the present round. It begins another when something has changed.
func (i *Installed) look() *round {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.round == nil {
		first := i.begin()
		i.round = first
		i.running.Go(func() { i.describe(first, nil) })
		return first
	}
	if i.round.fresh(i.cfg) {
		i.askAgain()
		return i.round
	}
	next, last := i.begin(), i.round
	if last.same(next) {
		last.folder, last.looked = next.folder, next.looked
		i.askAgain()
		return last
	}
	i.round = next
	i.running.Go(func() { i.describe(next, last) })
	return next
}

// begin is a round of what is on the disk now.
func (i *Installed) begin() *round {
	now := time.Now()
	r := &round{early: make(chan struct{}), whole: make(chan struct{}), looked: now, began: now}
	if info, err := os.Stat(filepath.Dir(i.cfg.Core)); err == nil {
		r.folder = fileOf(info)
	}
	r.found, r.passed = i.find()
	return r
}

// askAgain has those describe themselves who could not a while ago. Nobody waits
// for them: they may fail again, and take their time to. The caller holds the lock.
func (i *Installed) askAgain() {
	last := i.round
	if i.again || !last.overdue() {
		return
	}
	i.again = true
	next := i.begin()
	i.running.Go(func() {
		i.describe(next, nil)
		i.mu.Lock()
		defer i.mu.Unlock()
		i.again = false
		if i.round == last {
			i.round = next
		}
	})
}

// fresh says that nothing on the disk has changed since the round began.
func (r *round) fresh(cfg Config) bool {
	info, err := os.Stat(filepath.Dir(cfg.Core))
	if err != nil || !fileOf(info).same(r.folder) || r.looked.Sub(r.folder.modified) < settling {
		return false
	}
	return !slices.ContainsFunc(slices.Concat(r.found, r.passed), func(of found) bool {
		now, _ := executable(of.path) // What cannot be had is no file.
		return !now.same(of.file)
	})
}

// overdue says that it is time to ask again who could not describe himself.
func (r *round) overdue() bool {
	select {
	case <-r.whole:
		return r.all != nil && len(r.all.faulty) > 0 && time.Since(r.described) > patience
	default:
		return false
	}
}

// same says that both have found the same files.
func (r *round) same(other *round) bool {
	return slices.EqualFunc(r.found, other.found, found.same) && slices.EqualFunc(r.passed, other.passed, found.same)
}

// find looks for binaries. The core runner comes first, whatever has become of it.
func (i *Installed) find() (out, passed []found) {
	paths := beside(i.cfg.Core)
	maps.Copy(paths, i.cfg.Others)
	out = []found{{name: Core, path: i.cfg.Core}}
	for _, name := range slices.Sorted(maps.Keys(paths)) {
		of, err := executable(paths[name])
		if err != nil && i.cfg.Others[name] == "" {
			passed = append(passed, found{name: name, path: paths[name]})
			continue
		}
		out = append(out, found{name: name, path: paths[name], file: of})
	}
	out[0].file, _ = executable(i.cfg.Core)
	return out, passed
}

// describe has all that were found describe themselves, at the same time, but for
// those that are in the last round as they are now.
func (i *Installed) describe(r, last *round) {
	defer close(r.whole)
	runners := make([]*Runner, len(r.found))
	// Everybody waits for the core runner, and few for the others.
	runners[0] = r.tell(i.runner(r.found[0], last))
	if i.life.Err() == nil {
		r.core = newCatalogue(runners[:1])
	}
	close(r.early)
	var others sync.WaitGroup
	for n := range r.found[1:] {
		others.Go(func() { runners[n+1] = r.tell(i.runner(r.found[n+1], last)) })
	}
	others.Wait()
	if i.life.Err() != nil {
		return
	}
	r.runners, r.all, r.described = runners, newCatalogue(runners), time.Now()
	var ids []string
	for _, runner := range runners {
		ids = append(ids, runner.mark)
	}
	i.cache.retain(ids)
	// What was read is ten times what is kept of it, and nobody reads it again soon.
	debug.FreeOSMemory()
}

// runner is one that was found: as it was in the last round when the file is the
// same still, else as the cache has it or it says itself.
func (i *Installed) runner(of found, last *round) *Runner {
	if known := last.runner(of); known != nil {
		return known
	}
	r := &Runner{Name: of.name, Path: of.path, Size: of.file.size, found: of}
	if _, r.Fault = executable(of.path); r.Fault == nil && i.cfg.Usable != nil {
		r.Fault = i.cfg.Usable(of.path)
	}
	if r.Fault == nil {
		r.mark = of.mark()
		var said *rpc.Description
		if said, r.Fault = i.said(r); r.Fault == nil {
			r.learn(said)
			return r
		}
	}
	if i.life.Err() == nil {
		i.log.Warn("a runner cannot be used", zap.String("runner", of.name), zap.String("path", of.path), zap.Error(r.Fault))
	}
	return r
}

// runner is the one of a file as the round has described it; nil where it has not,
// or has not finished.
func (r *round) runner(of found) *Runner {
	if r == nil {
		return nil
	}
	select {
	case <-r.whole:
	default:
		return nil
	}
	at := slices.IndexFunc(r.runners, func(known *Runner) bool { return known.found.same(of) })
	if at < 0 {
		return nil
	}
	return r.runners[at]
}

// said is what a binary says of itself.
func (i *Installed) said(r *Runner) (*rpc.Description, error) {
	if description := i.cache.get(r.mark); description != nil {
		return description, nil
	}
	description, text, err := ask(i.life, r.Path)
	if err != nil {
		return nil, err
	}
	if err := i.cache.put(r.mark, text); err != nil {
		i.log.Warn("what a runner says of itself cannot be kept: it is asked again at the next start", zap.String("runner", r.Name), zap.Error(err))
	}
	return description, nil
}

// Description is all that a runner says of itself.
func (i *Installed) Description(r *Runner) (*rpc.Description, error) {
	description, err := i.said(r)
	if err != nil {
		return nil, fmt.Errorf("the runner %s: %w", r.Name, err)
	}
	return description, nil
}
