package track

import (
	"testing"
	"time"
)

func TestSleepWatch(t *testing.T) {
	t.Parallel()
	var w SleepWatch
	wall := time.Date(2026, 4, 15, 12, 0, 0, 0, time.UTC)
	mono := time.Duration(0)
	for _, step := range []struct {
		name       string
		wall, mono time.Duration // that pass
		woke       bool
	}{
		{"first request", 0, 0, false},
		{"busy", time.Second, time.Second, false},
		{"an idle hour", time.Hour, time.Hour, false},
		{"clock set by a little", 10 * time.Second, time.Millisecond, false},
		{"a night's sleep", 8 * time.Hour, time.Second, true},
		{"awake", time.Second, time.Second, false},
		{"clock set back", -time.Hour, time.Second, false},
	} {
		wall, mono = wall.Add(step.wall), mono+step.mono
		if got := w.woke(wall, mono); got != step.woke {
			t.Errorf("%s: woke %t, want %t", step.name, got, step.woke)
		}
	}
}
