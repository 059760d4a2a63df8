package app

import (
	"context"
	"runtime"
	runtimemetrics "runtime/metrics"
	"time"
)

// A goroutine waits long if it is ready to run and does not for longWait. Where many do, the
// runtime's processors are too few; a connection of a quiet client is then not even looked at, for
// the runtime looks for what has come from the network where a processor has nothing to do, or
// every 10 ms. With twice as many processors as the machine has there is nearly always one, and the
// system divides the time. While there is time enough that would take a tenth more of it.
const (
	longWait = 4 * time.Millisecond
	// manyWaits is how many long waits in a second are many. The runtime counts about one in eight.
	// A thousand streams at a time have fewer than three. On one processor, where a goroutine may
	// run for 10 ms, there are never as many.
	manyWaits = 20
	// calm is after how many seconds without many waits the processors are as many as before.
	calm = 10
)

// processors is what is done about the processors of the runtime.
type processors struct {
	// waits returns how many long waits the runtime has counted.
	waits func() uint64
	// set has twice as many processors as usual, or as many.
	set func(double bool)
}

// follow doubles the processors while many goroutines wait for them, until ctx ends. There is to
// be a tick each second.
func (p processors) follow(ctx context.Context, ticks <-chan time.Time) {
	last, quiet, double := p.waits(), 0, false
	for {
		select {
		case <-ctx.Done():
			if double {
				p.set(false)
			}
			return
		case <-ticks:
		}
		now := p.waits()
		quiet++
		if now-last >= manyWaits {
			quiet = 0
		}
		last = now
		if wanted := quiet == 0 || double && quiet < calm; wanted != double {
			p.set(wanted)
			double = wanted
		}
	}
}

// FollowLoad has the runtime use more processors while many goroutines wait for one, until ctx
// ends. It does nothing where GOMAXPROCS is set.
func FollowLoad(ctx context.Context, getenv func(string) string) {
	if getenv("GOMAXPROCS") != "" {
		return
	}
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	processors{longWaits, setProcessors}.follow(ctx, ticker.C)
}

// setProcessors implements processors.set.
func setProcessors(double bool) {
	if !double {
		runtime.SetDefaultGOMAXPROCS() // and follow what the process may use again
		return
	}
	// Where a quota of the cgroup allows less than there is, the process would only use it up the
	// earlier, and be stopped.
	if usual := runtime.GOMAXPROCS(0); usual >= runtime.NumCPU() {
		runtime.GOMAXPROCS(2 * usual)
	}
}

// longWaits implements processors.waits.
func longWaits() (n uint64) {
	samples := []runtimemetrics.Sample{{Name: "/sched/latencies:seconds"}}
	runtimemetrics.Read(samples)
	latencies := samples[0].Value.Float64Histogram()
	for i, count := range latencies.Counts {
		if latencies.Buckets[i] >= longWait.Seconds() {
			n += count
		}
	}
	return n
}
