package app

import (
	"context"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestFollowLoad doubles the processors in a second in which many goroutines wait, and no longer
// than until there was none such for a while, or the end.
func TestFollowLoad(t *testing.T) {
	t.Parallel()
	waits := slices.Concat([]uint64{manyWaits - 1, manyWaits, 0, 100}, make([]uint64, calm+1), []uint64{1, manyWaits})
	ctx, cancel := context.WithCancel(t.Context())
	ticks := make(chan time.Time, len(waits))
	for range waits {
		ticks <- time.Time{}
	}
	second, total := 0, uint64(50)
	var doubled, usual []int
	processors{
		waits: func() uint64 {
			if second > 0 {
				total += waits[second-1]
			}
			if second++; second > len(waits) {
				cancel()
			}
			return total
		},
		set: func(double bool) {
			if double {
				doubled = append(doubled, second-2)
			} else {
				usual = append(usual, second-2)
			}
		},
	}.follow(ctx, ticks)
	if !slices.Equal(doubled, []int{1, 6 + calm}) || !slices.Equal(usual, []int{3 + calm, 6 + calm}) {
		t.Errorf("twice as many from %v on, as many as before from %v on", doubled, usual)
	}
}

// TestLongWaits has more goroutines compute than there are processors, until some have waited.
func TestLongWaits(t *testing.T) {
	t.Parallel()
	before := longWaits()
	var over atomic.Bool
	var all sync.WaitGroup
	for range 4 * runtime.GOMAXPROCS(0) {
		all.Go(func() {
			for !over.Load() {
			}
		})
	}
	deadline := time.Now().Add(time.Minute)
	for longWaits() < before+manyWaits && time.Now().Before(deadline) {
		time.Sleep(time.Millisecond)
	}
	over.Store(true)
	all.Wait()
	if n := longWaits() - before; n < manyWaits {
		t.Errorf("%d goroutines have waited", n)
	}
}

// TestSetProcessors doubles the processors, and has as many as before. It is not parallel, for it
// sets those of the process.
func TestSetProcessors(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	runtime.GOMAXPROCS(runtime.NumCPU())
	if setProcessors(true); runtime.GOMAXPROCS(0) != 2*runtime.NumCPU() {
		t.Errorf("%d processors of %d, doubled", runtime.GOMAXPROCS(0), runtime.NumCPU())
	}
	usual := runtime.NumCPU()
	if setProcessors(false); os.Getenv("GOMAXPROCS") == "" && runtime.GOMAXPROCS(0) > usual {
		t.Errorf("%d processors of %d, not doubled", runtime.GOMAXPROCS(0), usual)
	}
	if usual > 1 {
		runtime.GOMAXPROCS(usual - 1) // as a quota does
		if setProcessors(true); runtime.GOMAXPROCS(0) != usual-1 {
			t.Errorf("%d processors, where %d are allowed", runtime.GOMAXPROCS(0), usual-1)
		}
	}
}

// TestFollowLoadLeavesTuned changes nothing where somebody has said how many processors there are.
func TestFollowLoadLeavesTuned(t *testing.T) {
	FollowLoad(t.Context(), func(name string) string { return map[string]string{"GOMAXPROCS": "2"}[name] }) // returns
}
