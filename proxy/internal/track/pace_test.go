package track

import (
	"testing"
	"time"
)

// TestPace has much come after little, and little again.
func TestPace(t *testing.T) {
	t.Parallel()
	var p Pace
	now := time.Unix(1e9, 0)
	for i, step := range []struct {
		after time.Duration
		n     int
		much  bool
	}{
		{0, paceBurst, false},
		{0, 1, true},
		{time.Second, paceBurst, false},
		{time.Second / 64, paceRate / 64, false}, // as fast as is usual
		{time.Second / 64, paceRate / 64, false},
		{time.Second / 64, paceRate / 64 * 2, true},
		{time.Second / 64, paceRate / 64, true},
		{0, 1 << 30, true},
		{2 * paceBurst * time.Second / paceRate, paceBurst, false}, // however much it was
		{-time.Hour, 1, true},                                      // and if the clock is set back
	} {
		now = now.Add(step.after)
		if much := p.Spend(step.n, now); much != step.much {
			t.Errorf("step %d: %v", i, much)
		}
	}
}
