package proxy

import "sync"

// slots counts what is taken under each name. Only names with something taken
// take up memory.
type slots struct {
	mu    sync.Mutex
	taken map[string]int
}

func newSlots() *slots { return &slots{taken: make(map[string]int)} }

// take takes one under name and returns what gives it back, once however often
// it is called. It returns nil if as many as most are taken.
func (s *slots) take(name string, most int) (giveBack func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.taken[name] >= most {
		return nil
	}
	s.taken[name]++
	return sync.OnceFunc(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.taken[name]--; s.taken[name] == 0 {
			delete(s.taken, name)
		}
	})
}

// held returns how many are taken under all names.
func (s *slots) held() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, taken := range s.taken {
		n += taken
	}
	return n
}
