package app

import (
	"context"
	"errors"
	"math"
	"runtime"
	"runtime/debug"
	"slices"
	"testing"
	"time"
)

// TestTidyHeap gives memory back once after work, and not during it.
func TestTidyHeap(t *testing.T) {
	const mb = 1 << 20
	for name, test := range map[string]struct {
		live    uint64
		seconds []uint64 // what is allocated in each
		want    []int    // seconds
	}{
		"small": {8 * mb, []uint64{
			0,       // nothing was done yet
			10 * mb, // work
			30 * mb,
			mb / 2, // rest: 4
			mb / 2,
			10 * mb, // too little to be worth it
			0,
			10 * mb,
			0, // 9
		}, []int{4, 9}},
		"large": {160 * mb, []uint64{
			100 * mb, // work
			90 * mb,
			9 * mb, // as many sessions take at rest: 3
			9 * mb, // too little to be worth it
			150 * mb,
			9 * mb, // 6
			9 * mb,
		}, []int{3, 6}},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		ticks := make(chan time.Time, len(test.seconds))
		for range test.seconds {
			ticks <- time.Time{}
		}
		second, total := 0, uint64(100*mb)
		var given []int
		tidyHeap(ctx, ticks, func() (allocated, live uint64) {
			if second > 0 {
				total += test.seconds[second-1]
			}
			if second++; second > len(test.seconds) {
				cancel()
			}
			return total, test.live
		}, func() { given = append(given, second-1) })
		if !slices.Equal(given, test.want) {
			t.Errorf("%s: memory was given back in the seconds %v, want %v", name, given, test.want)
		}
	}
}

// TestHeapUsage makes sure that the runtime still counts under these names.
func TestHeapUsage(t *testing.T) {
	runtime.GC()
	if allocated, live := heapUsage(); allocated == 0 || live == 0 {
		t.Errorf("%d bytes were allocated, and %d are in use", allocated, live)
	}
}

func TestReserveHeap(t *testing.T) {
	for _, set := range []string{"", "GOGC", "GOMEMLIMIT"} {
		before, _ := heapUsage()
		release := ReserveHeap(func(name string) string { return map[string]string{set: "1"}[name] })
		after, _ := heapUsage()
		if reserved := after-before >= heapReserve; reserved != (set == "") {
			t.Errorf("with %q set: reserved %t", set, reserved)
		}
		release()
	}
}

// TestLimitMemory takes the memory limit from the cgroup, if there is one and nobody has
// set another.
func TestLimitMemory(t *testing.T) {
	before := debug.SetMemoryLimit(-1)
	defer debug.SetMemoryLimit(before)
	for _, test := range []struct {
		set    string
		cgroup uint64
		err    error
		want   int64
	}{
		{"", 256 << 20, nil, 256<<20 - (256<<20)/10},
		{"GOMEMLIMIT", 256 << 20, nil, before},
		{"", 0, errors.New("no limit"), before},
		{"", math.MaxUint64, nil, before},
	} {
		debug.SetMemoryLimit(before)
		LimitMemory(func(name string) string { return map[string]string{test.set: "1"}[name] },
			func() (uint64, error) { return test.cgroup, test.err })
		if got := debug.SetMemoryLimit(-1); got != test.want {
			t.Errorf("%+v: the limit is %d", test, got)
		}
	}
}
