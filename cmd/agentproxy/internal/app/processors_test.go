package app

import (
	"runtime"
	"testing"
)

// TestOneSuffices uses one processor for a load that is small for a while, and all for one that
// is large, for one that waits, and for none.
func TestOneSuffices(t *testing.T) {
	one := false
	for i, test := range []struct {
		load
		want bool
	}{
		{load{}, false}, // at rest
		{load{busy: 0.3}, true},
		{load{busy: 0.5}, true},
		{load{busy: 0.7}, false},
		{load{busy: 0.5}, false},
		{load{busy: 0.3, late: 0.1}, false},
		{load{busy: 0.3, late: 0.01}, true},
		{load{busy: 0.3, late: 0.1}, false},
		{load{busy: 0.01}, true},
		{load{busy: 0.001}, false},
	} {
		if one = oneSuffices(one, test.load); one != test.want {
			t.Fatalf("%d: %+v: %t", i, test.load, one)
		}
	}
}

// TestLoadMeter measures a load: this test's own.
func TestLoadMeter(t *testing.T) {
	if _, ok := processorTime(); !ok {
		if runtime.GOOS != "windows" && runtime.GOOS != "plan9" {
			t.Error("it is not known how busy the program is")
		}
		return
	}
	m := newLoadMeter()
	for m.waits == 0 {
		done := make(chan struct{})
		go close(done)
		<-done
		if l := m.read(); l.busy < 0 || l.late < 0 || l.late > 1 {
			t.Fatalf("%+v", l)
		}
	}
	used, _ := processorTime()
	for now := used; now == used; now, _ = processorTime() {
	}
	if l := m.read(); l.busy <= 0 {
		t.Errorf("%+v", l)
	}
}
