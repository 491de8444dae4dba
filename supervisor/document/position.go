package document

import (
	"cmp"
	"slices"

	"gopkg.in/yaml.v3"
)

// origin leads from a node's place in a document's text to the posted text.
// All numbers are 1-based.
type origin struct {
	line, column             int32
	postedLine, postedColumn int32
	// block marks a literal or folded scalar: its lines follow its place.
	block bool
}

// locator maps a node's own position to the posted text.
type locator func(line, column int) (int, int)

// here is the locator of nodes that were parsed from the posted text.
func here(line, column int) (int, int) { return line, column }

// Position maps a position in Text() to the posted text, both 1-based. For a
// member of a set or a resource file that is the whole posted text. A position
// between nodes maps as the node before it on the line, or the first one when
// there is none before. Column 1 stays: the engine uses it for a whole line.
// Without any node on the line the position is returned unchanged, as is every
// position of what Merge made.
func (d *Document) Position(line, column int) (int, int) {
	next, found := slices.BinarySearchFunc(d.origins, line, func(o origin, line int) int {
		return cmp.Compare(int(o.line), line)
	})
	if !found {
		if next > 0 && d.origins[next-1].block {
			o := d.origins[next-1]
			return int(o.postedLine) + line - int(o.line), column
		}
		return line, column
	}
	at := d.origins[next]
	if column == 1 || column < int(at.column) {
		return int(at.postedLine), column
	}
	for _, o := range d.origins[next:] {
		if int(o.line) != line || int(o.column) > column {
			break
		}
		at = o
	}
	return int(at.postedLine), int(at.postedColumn)
}

// locator returns the way from the positions of d's nodes, just read with the
// given shifts, to the posted text. It moves the nodes unless there is a map.
func (d *Document) locator(t *tree, shifts []lineShift) locator {
	if len(d.origins) > 0 {
		// The map starts from positions in the masked text.
		return d.Position
	}
	place(t.root, shifts)
	return here
}

// originOf pairs a node as it was with the same node of the encoded text.
func originOf(was, is *yaml.Node, locate locator) origin {
	line, column := is.Line, is.Column
	if was.Line > 0 {
		line, column = locate(was.Line, was.Column)
	}
	const block = yaml.LiteralStyle | yaml.FoldedStyle
	return origin{
		line: int32(is.Line), column: int32(is.Column),
		postedLine: int32(line), postedColumn: int32(column),
		block: was.Style&block != 0 && is.Style&block != 0,
	}
}
