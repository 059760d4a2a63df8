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

// TestTidyHeap gives memory back once after work, and not during it. A large heap that takes
// little all the time is tidied now and then.
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
		"large and quiet": {160 * mb, slices.Repeat([]uint64{2 * mb}, 70), []int{30, 60}},
		"large and still": {160 * mb, slices.Repeat([]uint64{mb}, 70), []int{41}},
		"very large":      {1024 * mb, slices.Repeat([]uint64{10 * mb}, 300), nil},
		"small and quiet": {8 * mb, slices.Repeat([]uint64{mb / 4}, 70), []int{65}},
	} {
		given, percents := tidied(t, slices.Repeat([]uint64{test.live}, len(test.seconds)), test.seconds)
		if !slices.Equal(given, test.want) {
			t.Errorf("%s: memory was given back in the seconds %v, want %v", name, given, test.want)
		}
		if large := test.live >= largeHeap; large != slices.Equal(percents, []int{largePercent}) || !large && percents != nil {
			t.Errorf("%s: the percents %v were set", name, percents)
		}
	}
}

// TestPercentFollowsHeap sets the percent when the heap has become large or small, and only then.
func TestPercentFollowsHeap(t *testing.T) {
	const mb = 1 << 20
	live := []uint64{8 * mb, 31 * mb, 32 * mb, 100 * mb, 100 * mb, 20 * mb, 8 * mb, 40 * mb}
	_, percents := tidied(t, live, make([]uint64, len(live)))
	if want := []int{largePercent, usualPercent, largePercent}; !slices.Equal(percents, want) {
		t.Errorf("the percents %v were set, want %v", percents, want)
	}
}

// tidied tidies a heap for as many seconds as are given, by what is in use and what is allocated
// in each, and returns when memory was given back, and the percents that were set.
func tidied(t *testing.T, live, allocated []uint64) (given, percents []int) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ticks := make(chan time.Time, len(live))
	for range live {
		ticks <- time.Time{}
	}
	second, total := 0, uint64(100<<20)
	heap{
		usage: func() (uint64, uint64) {
			if second > 0 {
				total += allocated[second-1]
			}
			if second++; second > len(live) {
				cancel()
			}
			return total, live[max(second-2, 0)]
		},
		giveBack:   func() { given = append(given, second-1) },
		setPercent: func(percent int) { percents = append(percents, percent) },
	}.tidy(ctx, ticks)
	return given, percents
}

// TestGiveBack gives back what is not in use.
func TestGiveBack(t *testing.T) {
	held := make([]byte, 64<<20)
	runtime.KeepAlive(held)
	giveBack()
	if _, live := heapUsage(); live > 48<<20 {
		t.Errorf("%d bytes are in use", live)
	}
}

// TestTidyLeavesTunedHeap sets nothing where somebody has told the collector what to do.
func TestTidyLeavesTunedHeap(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, set := range []string{"GOGC", "GOMEMLIMIT"} {
		if getenv := func(name string) string { return map[string]string{set: "1"}[name] }; newHeap(getenv).setPercent != nil {
			t.Errorf("with %s the percent is set", set)
		}
	}
	TidyHeap(ctx, func(string) string { return "" }) // returns
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
