package app

import (
	"context"
	"math"
	"runtime"
	"runtime/debug"
	runtimemetrics "runtime/metrics"
	"time"
)

// heapReserve is memory that counts as used, in bytes, but never is: the system
// gives none for it. It has the collector of a small heap come when there is
// something to be collected, as a fixed part of the heap would not.
const heapReserve = 8 << 20

// ReserveHeap holds heapReserve until release is called. Whoever has set GOGC or
// GOMEMLIMIT knows better.
func ReserveHeap(getenv func(string) string) (release func()) {
	if getenv("GOGC") != "" || getenv("GOMEMLIMIT") != "" {
		return func() {}
	}
	reserve := make([]byte, heapReserve)
	return func() { runtime.KeepAlive(reserve) }
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

// What tells a heap that has been worked with from one at rest, in bytes
// allocated.
const (
	quietSecond  = 1 << 20
	worthTidying = 16 << 20
)

// tidyHeap gives memory back to the system when work is done: the runtime by
// itself would keep for minutes what a burst of connections has left behind. It
// looks at every tick, of which there is to be one a second, until ctx ends.
func tidyHeap(ctx context.Context, ticks <-chan time.Time, allocated func() uint64, giveBack func()) {
	last := allocated()
	tidied := last
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticks:
		}
		now := allocated()
		if now-last < quietSecond && now-tidied > worthTidying {
			giveBack()
			tidied = now
		}
		last = now
	}
}

// TidyHeap is tidyHeap for this process.
func TidyHeap(ctx context.Context) {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	tidyHeap(ctx, ticker.C, heapAllocated, debug.FreeOSMemory)
}

// heapAllocated returns the bytes that were ever allocated.
func heapAllocated() uint64 {
	sample := []runtimemetrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	runtimemetrics.Read(sample)
	return sample[0].Value.Uint64()
}
