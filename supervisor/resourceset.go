package supervisor

import (
	"maps"
	"sync"

	"penstock/supervisor/document"
	"penstock/supervisor/store"
)

// resourceSet holds the resources by id. Ids are unique over all types, as
// the engine wants them within one process.
type resourceSet struct {
	mu         sync.RWMutex
	byID       map[string]storedResource
	generation uint64
}

// resourceList is what a runner is built with. Each change of the resources
// begins a new generation.
type resourceList struct {
	byID       map[string]storedResource
	generation uint64
}

type storedResource struct {
	typ string
	doc *document.Document
	// labelled is the config with its id as the label, for the engine.
	labelled *document.Document
	// outline is the config's component without what is in it.
	outline []byte
	origin  store.Origin
	// generation is the one that began with it.
	generation uint64
	// components are those that it names.
	components *componentsOf
}

func newResourceSet() *resourceSet { return &resourceSet{byID: map[string]storedResource{}} }

func (r *resourceSet) snapshot() map[string]storedResource {
	byID, _ := r.present()
	return byID
}

func (r *resourceSet) all() resourceList {
	byID, generation := r.present()
	return resourceList{byID, generation}
}

// next is the list for runners that are to have the candidate, which is put
// into force after them.
func (r *resourceSet) next(candidate map[string]storedResource) resourceList {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return resourceList{candidate, r.generation + 1}
}

// present is what is in force, and its generation.
func (r *resourceSet) present() (map[string]storedResource, uint64) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return maps.Clone(r.byID), r.generation
}

// put takes a resource, and its generation as the present one.
func (r *resourceSet) put(id string, res storedResource) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.byID[id] = res
	r.generation = res.generation
}

// putBack undoes remove.
func (r *resourceSet) putBack(id string, res storedResource, generation uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.byID[id] = res
	r.generation = generation
}

// begin makes generation the present one.
func (r *resourceSet) begin(generation uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.generation = generation
}

func (r *resourceSet) remove(id string, generation uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.byID, id)
	r.generation = generation
}
