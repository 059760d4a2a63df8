package track

import (
	"maps"
	"runtime"
	"sync"
	"testing"
	"time"
)

// TestTally has telling take its time, as writing to a full disk does: nobody who counts waits
// for that, nothing is lost, and nothing is told of when Stop has returned.
func TestTally(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	told, begun, release := make(map[string]int), make(chan struct{}), make(chan struct{})
	var once sync.Once
	s := NewTally(time.Millisecond, func(kind string, times int) {
		once.Do(func() { close(begun) })
		<-release
		mu.Lock()
		defer mu.Unlock()
		told[kind] += times
	})
	first := func(kind string, times int) {
		for range times {
			s.First(kind)
		}
	}
	first("a", 3)
	<-begun
	counted := make(chan struct{})
	go func() {
		defer close(counted)
		first("a", 2)
		first("b", 3)
	}()
	select {
	case <-counted:
	case <-time.After(time.Minute):
		t.Fatal("whoever counts waits until it is told")
	}
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		s.Stop()
	}()
	for range 1000 {
		runtime.Gosched()
	}
	select {
	case <-stopped:
		t.Error("it has stopped while it tells")
	default:
	}
	close(release)
	<-stopped
	mu.Lock()
	defer mu.Unlock()
	if want := map[string]int{"a": 4, "b": 2}; !maps.Equal(told, want) { // besides the first of each
		t.Errorf("told: %v, want %v", told, want)
	}
	if !s.First("c") || s.kinds != nil {
		t.Error("it counts when it has stopped")
	}
}
