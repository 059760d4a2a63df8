package app

import (
	"bytes"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/agentproxy/agentproxy/proxy/usage"
)

// TestQuotaIsSaidOnce has backends that say in odd ways that nothing is left: one line each
// time that an allowance is used up, and one a minute at most.
func TestQuotaIsSaidOnce(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	for name, test := range map[string]struct {
		reset func(now time.Time) time.Time // zero: it does not say
		want  int                           // lines in three hours, with a response each second
	}{
		"one window":                 {func(time.Time) time.Time { return start.Add(5 * time.Hour) }, 1},
		"it does not say until when": {func(time.Time) time.Time { return time.Time{} }, 3},
		"its clock is wrong":         {func(time.Time) time.Time { return start.Add(-time.Hour) }, 3},
		"another each hour":          {func(now time.Time) time.Time { return now.Truncate(time.Hour).Add(time.Hour) }, 3},
		"it moves the time":          {func(now time.Time) time.Time { return now.Add(5 * time.Hour) }, 180},
	} {
		var log bytes.Buffer
		logger := zerolog.New(&log)
		now := start
		a := &App{quotas: new(quotaWatch), logInForce: new(atomic.Pointer[zerolog.Logger]), Now: func() time.Time { return now }, options: Options{Observer: Unobserved{}}}
		a.logInForce.Store(&logger)
		for ; now.Before(start.Add(3 * time.Hour)); now = now.Add(time.Second) {
			a.observeQuota("p", 429, usage.Quota{Primary: &usage.Window{UsedPercent: 100, ResetAt: test.reset(now)}})
		}
		if lines := strings.Count(log.String(), "is used up"); lines != test.want {
			t.Errorf("%s: %d lines, want %d", name, lines, test.want)
		}
		if strings.Contains(log.String(), "0001-") {
			t.Errorf("%s: it names a time that nobody has said: %s", name, log.String())
		}
	}

	// Of two windows the line names the one that ends last.
	var log bytes.Buffer
	logger := zerolog.New(&log)
	a := &App{quotas: new(quotaWatch), logInForce: new(atomic.Pointer[zerolog.Logger]), Now: func() time.Time { return start }, options: Options{Observer: Unobserved{}}}
	a.logInForce.Store(&logger)
	for range 2 {
		a.observeQuota("p", 429, usage.Quota{
			Primary:   &usage.Window{UsedPercent: 100, ResetAt: start.Add(time.Hour)},
			Secondary: &usage.Window{UsedPercent: 101, ResetAt: start.Add(48 * time.Hour)},
		})
	}
	if strings.Count(log.String(), "\n") != 1 || !strings.Contains(log.String(), "2026-05-03T12:00:00Z") {
		t.Errorf("two windows: %s", log.String())
	}
}
