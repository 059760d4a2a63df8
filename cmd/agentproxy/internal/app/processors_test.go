package app

import (
	"context"
	"runtime"
	"testing"
	"time"
)

// TestProcessors uses one processor for a load that is small for a while, and all for one that
// is large, for one that has to wait for the machine, and for none.
func TestProcessors(t *testing.T) {
	t.Parallel()
	var p processors
	for i, test := range []struct {
		look
		times int
		want  bool
	}{
		{look{busy: 0.2}, calmLooks - 1, false},
		{look{busy: 0.4}, 1, false},
		{look{busy: 0.2}, calmLooks - 1, false},
		{look{busy: 0.2}, 1, true},
		{look{busy: 0.4}, 5, true},
		{look{busy: 0.2, late: late - 1}, 5, true},
		{look{busy: 0.6}, 1, false},
		{look{busy: 0.2}, calmLooks, true},
		{look{busy: 0.2, late: late}, 1, false},
		{look{busy: 0.2}, calmLooks, true},
		{look{}, 1, false},
		{look{}, 2 * calmLooks, false},
	} {
		for range test.times {
			p.next(test.look)
		}
		if p.one != test.want {
			t.Fatalf("%d: %+v: %t", i, test.look, p.one)
		}
	}
}

// TestSuitProcessors leaves the number alone if it was set, and restores it at the end.
func TestSuitProcessors(t *testing.T) {
	before := runtime.GOMAXPROCS(0)
	SuitProcessors(t.Context(), func(name string) string { return map[string]string{"GOMAXPROCS": "3"}[name] })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	SuitProcessors(ctx, func(string) string { return "" })
	if now := runtime.GOMAXPROCS(0); now != before {
		t.Errorf("%d processors, and %d before", now, before)
	}
}

// TestProcessorTime has this test's own time be measured.
func TestProcessorTime(t *testing.T) {
	t.Parallel()
	first, ok := processorTime()
	if !ok {
		if runtime.GOOS != "windows" && runtime.GOOS != "plan9" {
			t.Error("it is not known how long the program has run")
		}
		return
	}
	for by := time.Now().Add(time.Minute); ; {
		if now, _ := processorTime(); now > first {
			return
		}
		if time.Now().After(by) {
			t.Fatal("the time stands still")
		}
	}
}
