package proxy

import "sync/atomic"

// refs counts who uses something, its owner included. gone is closed when the
// last has let go of it, and from then on nobody can take hold of it.
type refs struct {
	n    atomic.Int64
	gone chan struct{}
}

// newRefs returns the count of something that its owner alone holds.
func newRefs() *refs {
	r := &refs{gone: make(chan struct{})}
	r.n.Store(1)
	return r
}

// hold reports whether the thing was still there. Then it must be released.
func (r *refs) hold() bool {
	for {
		n := r.n.Load()
		if n == 0 {
			return false
		}
		if r.n.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// release reports whether nobody holds the thing any more.
func (r *refs) release() bool {
	if r.n.Add(-1) > 0 {
		return false
	}
	close(r.gone)
	return true
}
