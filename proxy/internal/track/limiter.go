package track

import "sync"

// Limiter counts what is in use under each name and refuses what exceeds a
// limit. It forgets a name when nothing is in use under it. Nothing is in use of the zero
// value.
type Limiter struct {
	mu    sync.Mutex
	taken map[string]int
}

// Take takes one place under name. It returns the function that gives the place
// back, which may be called more than once, or nil if most places are taken.
func (l *Limiter) Take(name string, most int) (giveBack func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.taken[name] >= most {
		return nil
	}
	if l.taken == nil {
		l.taken = make(map[string]int)
	}
	l.taken[name]++
	return sync.OnceFunc(func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.taken[name]--; l.taken[name] == 0 {
			delete(l.taken, name)
		}
	})
}

// InUse returns the number of places taken under all names.
func (l *Limiter) InUse() (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, taken := range l.taken {
		n += taken
	}
	return n
}
