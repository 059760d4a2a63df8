package track

import (
	"io"
	"sync/atomic"
)

// TurnReader reads from another reader. What was read waits for its label's share, and is worked on in a
// turn, which ends with the next read. The first bytes take none.
type TurnReader struct {
	io.Reader
	Turns *Turns
	Key   Key   // of Shared
	Free  int64 // bytes that take no turn
	turn  Turn
	over  atomic.Bool // see End
}

// Read implements [io.Reader].
func (r *TurnReader) Read(p []byte) (int, error) {
	r.turn.End()
	n, err := r.Reader.Read(p)
	if r.Free -= int64(n); r.Free < 0 && err == nil && !r.over.Load() {
		r.Turns.AwaitShare(r.Key.Name, n)
		r.Turns.Begin(&r.turn, r.Key)
		if r.over.Load() { // since it has waited
			r.turn.End()
		}
	}
	return n, err
}

// End ends the turn, if there is one. No other begins, though another goroutine may be reading.
// A nil TurnReader has none.
func (r *TurnReader) End() {
	if r != nil {
		r.over.Store(true)
		r.turn.End()
	}
}
