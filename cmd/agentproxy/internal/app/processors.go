package app

import (
	"context"
	"runtime"
	runtimemetrics "runtime/metrics"
	"time"
)

// SuitProcessors has the program use one processor while that is enough, and all of them
// otherwise, until ctx ends, unless GOMAXPROCS is set. With more than there is to do for, the
// runtime wakes a thread for nearly each event to look for further work, and that takes as much
// time as a short event does.
func SuitProcessors(ctx context.Context, getenv func(string) string) {
	if _, ok := processorTime(); !ok || getenv("GOMAXPROCS") != "" || runtime.GOMAXPROCS(0) == 1 {
		return
	}
	defer runtime.SetDefaultGOMAXPROCS()
	meter := newLoadMeter()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for one := false; ; {
		timer.Reset(lookAfter(one))
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		suffices := oneSuffices(one, meter.read())
		switch {
		case suffices == one:
			continue
		case suffices:
			runtime.GOMAXPROCS(1)
		default:
			runtime.SetDefaultGOMAXPROCS()
		}
		one = suffices
	}
}

// load is what a program has had to do for a while.
type load struct {
	busy float64 // how many processors it has kept busy
	late float64 // the share of its goroutines that have waited for one for lateAfter
}

const lateAfter = time.Millisecond

// oneSuffices reports whether one processor is enough for a load. one says that there was one.
func oneSuffices(one bool, l load) bool {
	const (
		atRest   = 0.002 // the next burst is to find them all
		mostLate = 0.02
		most     = 0.6
		mostAll  = 0.4 // of many
	)
	return l.busy > atRest && l.late < mostLate && (l.busy < mostAll || one && l.busy < most)
}

// lookAfter returns when to look again. Too little is worse than too much.
func lookAfter(one bool) time.Duration {
	if one {
		return 50 * time.Millisecond
	}
	return 500 * time.Millisecond
}

// loadMeter measures the load since it was last read.
type loadMeter struct {
	samples     []runtimemetrics.Sample // of how long goroutines waited
	at          time.Time
	used        time.Duration
	waits, late uint64
}

func newLoadMeter() *loadMeter {
	m := &loadMeter{samples: []runtimemetrics.Sample{{Name: "/sched/latencies:seconds"}}}
	m.read()
	return m
}

func (m *loadMeter) read() (l load) {
	runtimemetrics.Read(m.samples)
	histogram := m.samples[0].Value.Float64Histogram()
	waits, late := uint64(0), uint64(0)
	for i, n := range histogram.Counts {
		waits += n
		if histogram.Buckets[i] >= lateAfter.Seconds() {
			late += n
		}
	}
	now := time.Now()
	used, _ := processorTime()
	l.busy = float64(used-m.used) / float64(max(now.Sub(m.at), 1))
	if waits > m.waits {
		l.late = float64(late-m.late) / float64(waits-m.waits)
	}
	m.at, m.used, m.waits, m.late = now, used, waits, late
	return l
}
