package app

import (
	"context"
	"math"
	"runtime"
	"runtime/debug"
	runtimemetrics "runtime/metrics"
	"time"
)

// heapReserve is memory, in bytes, that the runtime counts as used although the system
// gives none for it. With it, the collector of a small heap runs when there is something
// to collect.
const heapReserve = 8 << 20

// ReserveHeap holds heapReserve until release is called, unless GOGC or GOMEMLIMIT is set.
func ReserveHeap(getenv func(string) string) (release func()) {
	if tuned(getenv) {
		return func() {}
	}
	reserve := make([]byte, heapReserve)
	return func() { runtime.KeepAlive(reserve) }
}

// tuned reports whether somebody has told the collector what to do, and knows better.
func tuned(getenv func(string) string) bool {
	return getenv("GOGC") != "" || getenv("GOMEMLIMIT") != ""
}

// LimitMemory has the collector keep the process within nine tenths of what its cgroup
// may have: the kernel kills a process that takes it all. fromCgroup returns that, in
// bytes, as [memlimit.FromCgroup] does. Whoever has set GOMEMLIMIT knows better.
func LimitMemory(getenv func(string) string, fromCgroup func() (uint64, error)) {
	if getenv("GOMEMLIMIT") != "" {
		return
	}
	if most, err := fromCgroup(); err == nil && most < math.MaxInt64 {
		debug.SetMemoryLimit(int64(most - most/10))
	}
}

// The bytes allocated that tell a busy second from a quiet one, and a heap worth tidying.
// Many sessions allocate a little all the time: a large heap is quiet in a second in which it
// allocates a part of itself, but no more than some: to collect a very large one takes long.
const (
	quietSecond  = 1 << 20
	worthTidying = 16 << 20
	quietPart    = 16
	mostQuiet    = 10 << 20
	// After patience, in seconds, a part of the heap is worth tidying: it costs little then.
	tidyPart = 4
	patience = 30
)

// A heap of largeHeap bytes in use grows by largePercent before it is collected, and a smaller one
// by the runtime's own usualPercent. What is allocated while many sessions begin takes the place of
// what their handshakes have left, then, in place of more memory.
const (
	largeHeap    = 32 << 20
	largePercent = 50
	usualPercent = 100
)

// heap is what is done about the memory of a process.
type heap struct {
	// usage returns the bytes that were ever allocated, and those in use.
	usage func() (allocated, live uint64)
	// giveBack collects what is not in use, and gives it back to the system.
	giveBack func()
	// setPercent sets by how much the heap grows before it is collected. nil: nothing does.
	setPercent func(int)
}

// newHeap returns the heap of this process.
func newHeap(getenv func(string) string) heap {
	h := heap{usage: heapUsage, giveBack: giveBack}
	if !tuned(getenv) {
		h.setPercent = func(percent int) { debug.SetGCPercent(percent) }
	}
	return h
}

// tidy gives memory back to the system after work, until ctx ends. By itself the runtime would
// keep it for minutes after a burst of connections. There is to be a tick each second.
func (h heap) tidy(ctx context.Context, ticks <-chan time.Time) {
	last, _ := h.usage()
	tidied, since, percent := last, 0, usualPercent
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticks:
		}
		since++
		now, live := h.usage()
		if wanted := percentFor(live); h.setPercent != nil && wanted != percent {
			h.setPercent(wanted)
			percent = wanted
		}
		worth := live
		if since >= patience {
			worth /= tidyPart
		}
		if now-last < max(quietSecond, min(live/quietPart, mostQuiet)) && now-tidied > max(worthTidying, worth) {
			h.giveBack()
			tidied, since = now, 0
		}
		last = now
	}
}

func percentFor(live uint64) int {
	if live >= largeHeap {
		return largePercent
	}
	return usualPercent
}

// TidyHeap gives memory back to the system after work, until ctx ends, and has a large heap
// collected more often, unless GOGC or GOMEMLIMIT is set.
func TidyHeap(ctx context.Context, getenv func(string) string) {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	newHeap(getenv).tidy(ctx, ticker.C)
}

// giveBack implements heap.giveBack.
func giveBack() {
	runtime.GC() // halves stacks, of which handshakes need twice as much as what follows them
	debug.FreeOSMemory()
}

// heapUsage returns the bytes that were ever allocated, and those that the last collection
// has left.
func heapUsage() (allocated, live uint64) {
	samples := []runtimemetrics.Sample{{Name: "/gc/heap/allocs:bytes"}, {Name: "/gc/heap/live:bytes"}}
	runtimemetrics.Read(samples)
	return samples[0].Value.Uint64(), samples[1].Value.Uint64()
}
