package track

import (
	"sync"
	"time"
)

// sleepTolerance is how far the two clocks may drift apart while the machine is
// awake.
const sleepTolerance = 30 * time.Second

// SleepWatch notices that the machine was asleep. Servers have given up the
// connections that were idle then, and a request on one of them would fail or hang.
type SleepWatch struct {
	born time.Time

	mu   sync.Mutex
	wall time.Time // without a monotonic reading
	mono time.Duration
}

// NewSleepWatch returns a SleepWatch that was never asked.
func NewSleepWatch() *SleepWatch { return &SleepWatch{born: time.Now()} }

// Woke reports whether the machine has slept between the time of the last call and now.
func (w *SleepWatch) Woke(now time.Time) bool { return w.woke(now.Round(0), now.Sub(w.born)) }

// woke is Woke for wall, the time of day, and mono, a clock that stands still while the
// machine sleeps.
func (w *SleepWatch) woke(wall time.Time, mono time.Duration) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	slept := !w.wall.IsZero() && wall.Sub(w.wall)-(mono-w.mono) > sleepTolerance
	w.wall, w.mono = wall, mono
	return slept
}
