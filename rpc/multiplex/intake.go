package multiplex

import (
	"fmt"
	"net/http"
	"strconv"
	"sync/atomic"
)

const (
	// mostAhead is how many pieces of a body may be under way. One that is waited
	// for by itself wakes both sides.
	mostAhead = 4
	// mostSpare is how many a process asks for beyond one for each body. With all
	// of them under way the next bodies come one piece at a time.
	mostSpare = 16
	// aheadHeader tells the other side, as the connection begins, how many pieces
	// it may ask for. One that does not say has one under way.
	aheadHeader = "Penstock-Ahead"
)

// spare is how many of mostSpare are asked for.
var spare atomic.Int32

// aheadOf is what the other side says of itself.
func aheadOf(h http.Header) int {
	n, err := strconv.Atoi(h.Get(aheadHeader))
	if err != nil {
		return 1
	}
	return min(max(n, 1), mostAhead)
}

// aheadHeaders says what we can do.
func aheadHeaders() http.Header {
	return http.Header{aheadHeader: {strconv.Itoa(mostAhead)}}
}

// intake is how much of a body may come.
type intake struct {
	// due is how many pieces were asked for and have not come.
	due atomic.Int32
	// asked is how many were asked for and not taken by who reads the body.
	asked int32
	// spare is how many of the process's are this body's.
	spare int32
}

// ask asks for further pieces of a body, once the last one is read. left is what was
// announced of it and was not taken; not positive if nobody knows, which it may be
// for hours.
func (in *intake) ask(out *writer, id uint32, ahead int, left int64) error {
	want := int32(1)
	if left > MaxPiece {
		want = int32(min(int64(ahead), (left-1)/MaxPiece+1))
	}
	for in.asked < want {
		if in.asked > in.spare {
			if spare.Add(1) > mostSpare {
				spare.Add(-1)
				break
			}
			in.spare++
		}
		in.asked++
		in.due.Add(1)
		if err := out.signal(kindCredit, id); err != nil {
			return err
		}
	}
	return nil
}

// came takes note of a piece that has come.
func (in *intake) came() error {
	if in.due.Add(-1) < 0 {
		return fmt.Errorf("%w: a piece that was not asked for", errProtocol)
	}
	return nil
}

// taken takes note of one that is read.
func (in *intake) taken() { in.asked-- }

// end gives back what the body has of the process's.
func (in *intake) end() {
	spare.Add(-in.spare)
	in.spare = 0
}

// giveCredit lets a sender send a further piece.
func giveCredit(to chan struct{}, ahead int) error {
	if len(to) >= ahead {
		return fmt.Errorf("%w: a credit too many", errProtocol)
	}
	to <- struct{}{}
	return nil
}
