package proxy

import (
	"sync"
	"time"
)

// sleepTolerance is how far the clocks may drift apart without it meaning that
// the machine was asleep.
const sleepTolerance = 30 * time.Second

// wakeWatch notices that the machine was asleep. The servers have long given up
// the connections that were idle then, and a request on one of them would fail
// or hang: they are closed before it is sent.
type wakeWatch struct {
	mu   sync.Mutex
	wall time.Time // without a monotonic reading
	mono time.Duration
}

// woke reports whether the machine has slept since the last call. wall is the
// time of day, and mono a clock that stands still meanwhile.
func (w *wakeWatch) woke(wall time.Time, mono time.Duration) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	slept := !w.wall.IsZero() && wall.Sub(w.wall)-(mono-w.mono) > sleepTolerance
	w.wall, w.mono = wall, mono
	return slept
}
