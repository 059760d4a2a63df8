package track

import "sync/atomic"

// Refs counts the references to a shared value, that of its owner included.
type Refs struct {
	n    atomic.Int64
	gone chan struct{}
}

// NewRefs returns the count of a value that its owner alone refers to.
func NewRefs() *Refs {
	r := &Refs{gone: make(chan struct{})}
	r.n.Store(1)
	return r
}

// Hold adds a reference, which must be released. It reports false, and adds none,
// if all references have been released.
func (r *Refs) Hold() bool {
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

// Release drops a reference and reports whether it was the last.
func (r *Refs) Release() bool {
	if r.n.Add(-1) > 0 {
		return false
	}
	close(r.gone)
	return true
}

// Gone returns a channel that is closed when the last reference is released.
func (r *Refs) Gone() <-chan struct{} { return r.gone }
