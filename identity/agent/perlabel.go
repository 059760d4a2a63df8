package agent

import "sync"

// perLabel holds a value for every session label, up to as many as there are tasks.
type perLabel[T any] struct {
	mu      sync.Mutex
	byLabel map[string]*T
}

// of returns the value of a label.
func (l *perLabel[T]) of(label string) *T {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.byLabel == nil || len(l.byLabel) >= maxTasks {
		l.byLabel = make(map[string]*T)
	}
	if l.byLabel[label] == nil {
		l.byLabel[label] = new(T)
	}
	return l.byLabel[label]
}
