package stats

import (
	"maps"
	"slices"
	"strconv"
	"strings"
)

// maxHoles bounds how many empty elements all arrays of a tree have together.
// Components that count nothing leave a few; a path with an index of 10^9,
// which a user can choose, must not cost the memory of so many.
const maxHoles = 10_000

// connectionStates are the metrics that are shown together as `connection`.
var connectionStates = []string{"up", "failed", "lost"}

// Tree is the report as a hierarchy that follows the stream's config by
// component path; the package comment shows it. It can always be marshalled,
// holds every metric, and is the same for any order of the metrics.
func (r Report) Tree() map[string]any {
	root := &node{object: true}
	for _, it := range ordered(r.Metrics) {
		root.add(it)
	}
	root.outline(r.Config)
	holes := maxHoles
	tree := root.renderObject(&holes)
	if r.Process != nil {
		tree["process"] = *r.Process
	}
	if r.Usage != nil {
		if limits := r.Usage.tree(); len(limits) > 0 {
			tree["limits"] = limits
		}
	}
	tree[uptimeKey] = r.Uptime.Nanoseconds()
	return tree
}

// node is a place in the tree: a component when its first item has a path,
// otherwise only a step on the way to one.
type node struct {
	// object forbids that the node is shown as an array.
	object   bool
	children map[string]*node
	items    []item
	// name is set for a component of the config.
	name *name
}

// add puts an item at its place below the root of the tree.
func (n *node) add(it item) {
	place, objects := address(it)
	for i, segment := range place {
		n = n.child(segment)
		n.object = n.object || i < objects
	}
	n.items = append(n.items, it)
}

// child is the node below this one, made where there is none.
func (n *node) child(segment string) *node {
	if n.children == nil {
		n.children = map[string]*node{}
	}
	child, ok := n.children[segment]
	if !ok {
		child = &node{}
		n.children[segment] = child
	}
	return child
}

// address is where an item belongs, and how many of the first steps there are
// objects whatever is below them.
func address(it item) (place []string, objects int) {
	if typ, ok := resourceType(it.segments); ok {
		place = []string{"resources", typ}
		if it.label != "" {
			place = append(place, it.label)
		}
		return append(place, it.segments[1:]...), 2
	}
	if len(it.segments) == 0 {
		if it.path == "" {
			return []string{"other"}, 1
		}
		return append([]string{"other"}, split(it.path)...), 1
	}
	switch it.segments[0] {
	case "input", "buffer", "pipeline", "output":
		return it.segments, 1
	default:
		return append([]string{"other"}, it.segments...), 1
	}
}

// render gives an array for a node that is nothing but a list of components.
// It takes the array's holes from those that are left.
func (n *node) render(holes *int) any {
	length, ok := n.arrayLength()
	if !ok || length-len(n.children) > *holes {
		return n.renderObject(holes)
	}
	*holes -= length - len(n.children)
	out := make([]any, length)
	for i := range out {
		if child, ok := n.children[strconv.Itoa(i)]; ok {
			out[i] = child.render(holes)
		} else {
			out[i] = map[string]any{}
		}
	}
	return out
}

func (n *node) arrayLength() (length int, ok bool) {
	if n.object || len(n.items) > 0 || n.name != nil {
		return 0, false
	}
	for segment := range n.children {
		i, err := strconv.Atoi(segment)
		// The limit also keeps i+1 from overflowing.
		if err != nil || i < 0 || i >= len(n.children)+maxHoles || strconv.Itoa(i) != segment {
			return 0, false
		}
		length = max(length, i+1)
	}
	return length, true
}

func (n *node) renderObject(holes *int) map[string]any {
	o := object{values: map[string]any{}, copies: map[string]int{}}
	if len(n.items) > 0 && n.items[0].path != "" {
		o.label, o.path = n.items[0].label, n.items[0].path
	} else if n.name != nil {
		o.label, o.path = n.name.label, n.name.path
	}
	if o.path != "" {
		o.values[labelLabel], o.values[labelPath] = o.label, o.path
	}
	for _, segment := range slices.Sorted(maps.Keys(n.children)) {
		o.values[o.free(segment)] = n.children[segment].render(holes)
	}
	for _, it := range n.items {
		o.put(it)
	}
	return o.values
}

// object is a node while its keys are given away.
type object struct {
	label, path string
	values      map[string]any
	// connection is in values too, once there is one.
	connection map[string]any
	// copies counts how often a key got a number, so that many of the same
	// cost no search.
	copies map[string]int
}

func (o *object) put(it item) {
	// What the object itself already says need not be in a key.
	further := slices.DeleteFunc(slices.Clone(it.labels), func(l label) bool {
		return l.name == labelLabel && l.value == o.label || l.name == labelPath && l.value == o.path
	})
	if o.putConnection(it, further) {
		return
	}
	key := o.free(labelled(it.short, further), labelled(it.metric.Name, further), it.full)
	o.values[key] = value(it.metric)
}

// putConnection reports false when the item is no state of the connection, or
// its place is taken.
func (o *object) putConnection(it item, further []label) bool {
	state, ok := strings.CutPrefix(it.short, "connection_")
	if !ok || !it.own || !slices.Contains(connectionStates, state) {
		return false
	}
	if o.connection == nil {
		if _, taken := o.values["connection"]; taken {
			return false
		}
		o.connection = map[string]any{}
		o.values["connection"] = o.connection
	}
	key := validKey(labelled(state, further))
	if _, taken := o.connection[key]; taken {
		return false
	}
	o.connection[key] = value(it.metric)
	return true
}

// free is the first of the keys that is not taken. When all are, it is the
// last one with a number.
func (o *object) free(keys ...string) string {
	var key string
	for _, k := range keys {
		key = validKey(k)
		if _, taken := o.values[key]; !taken {
			return key
		}
	}
	for {
		o.copies[key]++
		numbered := key + "#" + strconv.Itoa(o.copies[key]+1)
		if _, taken := o.values[numbered]; !taken {
			return numbered
		}
	}
}

// validKey makes keys that differ here differ in JSON as well.
func validKey(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }
