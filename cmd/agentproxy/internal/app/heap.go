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
// Many sessions allocate a little all the time: a large heap is quiet in a second in which it
// allocates a part of itself.
const (
	quietSecond  = 1 << 20
	worthTidying = 16 << 20
	quietPart    = 16
)

// tidyHeap gives memory back to the system after work, until ctx ends. By itself the
// runtime would keep it for minutes after a burst of connections. There is to be a tick
// each second. usage returns the bytes that were ever allocated, and those in use.
func tidyHeap(ctx context.Context, ticks <-chan time.Time, usage func() (allocated, live uint64), giveBack func()) {
	last, _ := usage()
	tidied := last
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticks:
		}
		now, live := usage()
		if now-last < max(quietSecond, live/quietPart) && now-tidied > max(worthTidying, live) {
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
	tidyHeap(ctx, ticker.C, heapUsage, debug.FreeOSMemory)
}

// heapUsage returns the bytes that were ever allocated, and those that the last collection
// has left.
func heapUsage() (allocated, live uint64) {
	samples := []runtimemetrics.Sample{{Name: "/gc/heap/allocs:bytes"}, {Name: "/gc/heap/live:bytes"}}
	runtimemetrics.Read(samples)
	return samples[0].Value.Uint64(), samples[1].Value.Uint64()
}
