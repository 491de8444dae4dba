package multiplex

// gathered is what a handler has written and was not sent, in the memory that it
// is sent from.
type gathered struct {
	// full are pieces of the largest size, each after the space for a header.
	full []*buffer
	// rest is what follows them: in memory that is used again while it is short,
	// otherwise in that of held, after the same space.
	rest []byte
	held *buffer
}

// size is how much it is, in bytes.
func (g *gathered) size() int { return len(g.full)*MaxPiece + len(g.rest) }

// add takes a copy of p.
func (g *gathered) add(p []byte) {
	for len(p) > 0 {
		n := min(len(p), MaxPiece-len(g.rest))
		total := len(g.rest) + n
		switch {
		case g.held == nil && total <= smallBuffer-headerSize:
		case g.held == nil || headerSize+total > cap(g.held.bytes):
			held := room(headerSize + total)
			kept := copy(held.bytes[headerSize:], g.rest)
			if g.held != nil {
				g.held.giveBack()
			}
			g.held, g.rest = held, held.bytes[headerSize:headerSize+kept]
		}
		g.rest = append(g.rest, p[:n]...)
		p = p[n:]
		if len(g.rest) == MaxPiece {
			g.full = append(g.full, g.held)
			g.held, g.rest = nil, nil
		}
	}
}

// takeFull takes the full pieces off.
func (g *gathered) takeFull() []*buffer {
	full := g.full
	g.full = nil
	return full
}

// takeRest takes the rest off, with the buffer that it is in; without one it is
// valid until more is added.
func (g *gathered) takeRest() (text []byte, held *buffer) {
	text, held = g.rest, g.held
	if g.held = nil; held != nil {
		g.rest = nil
	} else {
		g.rest = g.rest[:0]
	}
	return text, held
}

// release gives back what will not be sent.
func (g *gathered) release() {
	for _, piece := range g.full {
		piece.giveBack()
	}
	if g.held != nil {
		g.held.giveBack()
	}
	*g = gathered{}
}
