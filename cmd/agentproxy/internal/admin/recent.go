package admin

import (
	"slices"
	"sync"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/history"
)

// maxShown bounds, in bytes, the words of clients that are remembered.
const maxShown = 400

// occurrence is something that occurred so many times.
type occurrence[E any] interface {
	// like reports whether the other occurrence is of the same kind.
	like(other E) bool
	// after returns the occurrence with a former one of its kind counted in.
	after(former E) E
}

// recent remembers the last kinds of occurrences. It is bounded, for every client can cause
// them, and safe for concurrent use.
type recent[E occurrence[E]] struct {
	most int
	mu   sync.Mutex
	list []E // the latest last
}

// add remembers an occurrence.
func (r *recent[E]) add(e E) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if i := slices.IndexFunc(r.list, e.like); i >= 0 {
		e = e.after(r.list[i])
		r.list = slices.Delete(r.list, i, i+1)
	} else if len(r.list) == r.most {
		r.list = slices.Delete(r.list, 0, 1)
	}
	r.list = append(r.list, e)
}

// latest returns the occurrences, the latest first.
func (r *recent[E]) latest() []E {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := slices.Clone(r.list)
	slices.Reverse(list)
	return list
}

// shorten cuts s to maxShown bytes.
func shorten(s string) string { return string(history.AppendCut(nil, s, maxShown)) }
