package agent

import "sync"

// perLabel holds something for every session label, bounded like the tasks.
type perLabel[T any] struct {
	mu      sync.Mutex
	byLabel map[string]*T
}

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
