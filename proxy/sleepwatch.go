package proxy

import (
	"sync"
	"time"
)

// sleepTolerance is how far the two clocks may drift apart while the machine is
// awake.
const sleepTolerance = 30 * time.Second

// sleepWatch notices that the machine was asleep. Servers have given up the
// connections that were idle then, and a request on one of them would fail or hang.
type sleepWatch struct {
	born time.Time

	mu   sync.Mutex
	wall time.Time // without a monotonic reading
	mono time.Duration
}

// woke reports whether the machine has slept since the last call. wall is the time
// of day, and mono a clock that stands still while the machine sleeps.
func (w *sleepWatch) woke(wall time.Time, mono time.Duration) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	slept := !w.wall.IsZero() && wall.Sub(w.wall)-(mono-w.mono) > sleepTolerance
	w.wall, w.mono = wall, mono
	return slept
}
