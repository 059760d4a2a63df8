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

// The bytes allocated that tell a busy second from a quiet one, and a heap worth tidying.
const (
	quietSecond  = 1 << 20
	worthTidying = 16 << 20
)

// tidyHeap gives memory back to the system after work, until ctx ends. By itself the
// runtime would keep it for minutes after a burst of connections. There is to be a tick
// each second.
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
