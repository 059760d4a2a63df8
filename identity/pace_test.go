package identity

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestPacePlaces has no more come in than there are places, and who goes away
// need not wait for one.
func TestPacePlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPace(3)
		var mu sync.Mutex
		var in, most int
		var group sync.WaitGroup
		for range 20 {
			group.Go(func() {
				if err := p.enter(t.Context()); err != nil {
					t.Error(err)
				}
				defer p.leave()
				mu.Lock()
				in++
				most = max(most, in)
				mu.Unlock()
				time.Sleep(time.Second) // of the bubble
				mu.Lock()
				in--
				mu.Unlock()
			})
		}
		synctest.Wait()
		gone := errors.New("gone")
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(gone)
		if err := p.enter(ctx); err != gone {
			t.Errorf("who has gone away: %v", err)
		}
		group.Wait()
		if most != 3 {
			t.Errorf("%d came in, want 3", most)
		}
	})
}

// TestPaceWaits has a backend ask to be left alone.
func TestPaceWaits(t *testing.T) {
	refusal := func(after time.Duration) error { return &AnswerError{Status: 429, RetryAfter: after} }
	failure := errors.New("it failed")
	for name, test := range map[string]struct {
		answers     []error // then nil
		tries       int
		least, most time.Duration
		fails       bool
	}{
		"at once":              {nil, 1, 0, 0, false},
		"once":                 {[]error{refusal(4 * time.Second)}, 2, 4 * time.Second, 5 * time.Second, false},
		"twice":                {[]error{refusal(time.Second), refusal(8 * time.Second)}, 3, 9 * time.Second, 12 * time.Second, false},
		"other failure":        {[]error{failure}, 1, 0, 0, true},
		"does not say":         {[]error{refusal(0)}, 1, 0, 0, true},
		"too long":             {[]error{refusal(patience + time.Second)}, 1, 0, 0, true},
		"too long in all":      {[]error{refusal(patience / 2), refusal(patience / 2), refusal(time.Second)}, 3, patience, patience * 5 / 4, true},
		"another failure then": {[]error{refusal(time.Second), failure}, 2, time.Second, 2 * time.Second, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, start, tries := newPace(1), time.Now(), 0
				err := p.do(t.Context(), func() error {
					tries++
					if tries <= len(test.answers) {
						return test.answers[tries-1]
					}
					return nil
				})
				if took := time.Since(start); tries != test.tries || took < test.least || took > test.most || (err != nil) != test.fails {
					t.Errorf("%d tries in %s, %v; want %d in %s to %s", tries, took, err, test.tries, test.least, test.most)
				}
			})
		})
	}
}

// TestPaceHoldsOthers has all wait for what one was told.
func TestPaceHoldsOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, start := newPace(1), time.Now()
		p.pause(10 * time.Second)
		p.pause(time.Second) // which makes it no shorter
		if err := p.do(t.Context(), func() error { return nil }); err != nil || time.Since(start) < 10*time.Second {
			t.Errorf("%v after %s", err, time.Since(start))
		}
		p.pause(time.Hour)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := p.do(ctx, func() error { t.Error("tried"); return nil }); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("who has gone away: %v", err)
		}
	})
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 4, 15, 12, 0, 0, 0, time.UTC)
	b := NewBackend(BackendConfig{Clock: NewClock(func() time.Time { return now }, nil)})
	for _, test := range []struct {
		status int
		value  string
		want   time.Duration
	}{
		{429, "7", 7 * time.Second},
		{503, "7", 7 * time.Second},
		{500, "7", 0},
		{401, "7", 0},
		{429, "", 0},
		{429, "0", 0},
		{429, "-7", 0},
		{429, "soon", 0},
		{429, "99999999999999999999", 0},
		{429, "2000000000", maxRetryAfter},
		{429, now.Add(time.Minute).Format(http.TimeFormat), time.Minute},
		{429, now.Add(-time.Minute).Format(http.TimeFormat), 0},
		{429, now.AddDate(1, 0, 0).Format(http.TimeFormat), maxRetryAfter},
	} {
		answer := &http.Response{StatusCode: test.status, Header: http.Header{"Retry-After": {test.value}}}
		if got := b.retryAfter(answer); got != test.want {
			t.Errorf("%d, %q: %s, want %s", test.status, test.value, got, test.want)
		}
	}
}

// TestBackoffAsIsAsked has no wait shorter than the backend asks for, nor longer
// for a clock that was set back.
func TestBackoffAsIsAsked(t *testing.T) {
	now := time.Unix(1e9, 0)
	var b backoff
	b.done(now, "key", &AnswerError{Status: 503, RetryAfter: 5 * time.Minute})
	if b.ready(now.Add(5*time.Minute-time.Second), "key") == nil {
		t.Error("tried before the time that the backend asked for")
	}
	if err := b.ready(now.Add(-time.Hour), "key"); err != nil {
		t.Errorf("a clock that was set back: %v", err)
	}
	b.done(now, "key", nil)
	b.done(now, "key", &AnswerError{Status: 503, RetryAfter: 5 * time.Minute})
	if err := b.ready(now.Add(5*time.Minute), "key"); err != nil {
		t.Errorf("after that time: %v", err)
	}
}
