package admin

import (
	"testing"
	"time"

	"github.com/agentproxy/agentproxy/proxy/usage"
)

func TestQuotas(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 4, 15, 10, 0, 0, 0, time.UTC)
	var q quotas
	if got := q.of("builds", at); got != nil || got.String() != "" || got.UsedUp() {
		t.Errorf("nothing is known, and it is %v", got)
	}
	q.set("builds", usage.Quota{
		Primary:   &usage.Window{UsedPercent: 100, Length: 5 * time.Hour, ResetAt: at.Add(time.Hour)},
		Secondary: &usage.Window{UsedPercent: 34.4, Length: 7 * 24 * time.Hour, ResetAt: at.Add(24 * time.Hour)},
	})
	for _, test := range []struct {
		after  time.Duration
		want   string
		usedUp bool
	}{
		{0, "100% of 5 hours, 34% of 7 days", true},
		{time.Hour, "34% of 7 days", false}, // the other window is whole again
		{24 * time.Hour, "", false},
	} {
		if got := q.of("builds", at.Add(test.after)); got.String() != test.want || got.UsedUp() != test.usedUp {
			t.Errorf("after %s: %q, %v", test.after, got, got.UsedUp())
		}
	}
	if got := q.of("", at); got != nil {
		t.Errorf("another profile's is %v", got)
	}
}
