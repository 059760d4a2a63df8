package retry

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// refused says that a server asks to be left alone.
type refused time.Duration

func (refused) Error() string { return "refused" }

func asked(err error) time.Duration {
	r, _ := errors.AsType[refused](err)
	return time.Duration(r)
}

// TestGatePlaces has no more come in than there are places, and who goes away
// need not wait for one.
func TestGatePlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewGate(3, asked)
		var mu sync.Mutex
		var in, most int
		var group sync.WaitGroup
		for range 20 {
			group.Go(func() {
				if err := p.Enter(t.Context()); err != nil {
					t.Error(err)
				}
				defer p.Leave()
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
		if err := p.Enter(ctx); err != gone {
			t.Errorf("who has gone away: %v", err)
		}
		group.Wait()
		if most != 3 {
			t.Errorf("%d came in, want 3", most)
		}
	})
}

// TestGateWaits has a backend ask to be left alone.
func TestGateWaits(t *testing.T) {
	refusal := func(after time.Duration) error { return refused(after) }
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
				p, start, tries := NewGate(1, asked), time.Now(), 0
				err := p.Do(t.Context(), func() error {
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

// TestGateHoldsOthers has all wait for what one was told.
func TestGateHoldsOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, start := NewGate(1, asked), time.Now()
		p.pause(10 * time.Second)
		p.pause(time.Second) // which makes it no shorter
		if err := p.Do(t.Context(), func() error { return nil }); err != nil || time.Since(start) < 10*time.Second {
			t.Errorf("%v after %s", err, time.Since(start))
		}
		p.pause(time.Hour)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := p.Do(ctx, func() error { t.Error("tried"); return nil }); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("who has gone away: %v", err)
		}
	})
}

// TestBackoffAsIsAsked has no wait shorter than the backend asks for, nor longer
// for a clock that was set back.
func TestBackoffAsIsAsked(t *testing.T) {
	now := time.Unix(1e9, 0)
	var b Backoff
	b.Done(now, "key", refused(5*time.Minute), 5*time.Minute)
	if b.Ready(now.Add(5*time.Minute-time.Second), "key") == nil {
		t.Error("tried before the time that the backend asked for")
	}
	if err := b.Ready(now.Add(-time.Hour), "key"); err != nil {
		t.Errorf("a clock that was set back: %v", err)
	}
	b.Done(now, "key", nil, 0)
	b.Done(now, "key", refused(5*time.Minute), 5*time.Minute)
	if err := b.Ready(now.Add(5*time.Minute), "key"); err != nil {
		t.Errorf("after that time: %v", err)
	}
}

func TestBackoff(t *testing.T) {
	now := time.Unix(1e9, 0)
	failure := fmt.Errorf("it failed")
	wait := backoffFirst
	var b Backoff
	for range 30 {
		if err := b.Ready(now, "key"); err != nil {
			t.Fatalf("it is not tried: %v", err)
		}
		b.Done(now, "key", failure, 0)
		if err := b.Ready(now.Add(wait/2-time.Nanosecond), "key"); err == nil || !strings.Contains(err.Error(), "it failed (next try in ") {
			t.Fatalf("tried before half the wait of %s: %v", wait, err)
		}
		if b.Waits(now.Add(wait*3/2), "key") {
			t.Fatalf("not tried after one and a half times the wait of %s", wait)
		}
		now = now.Add(wait * 3 / 2)
		wait = min(2*wait, backoffMost)
	}
	if err := b.Ready(now, "key"); err != nil {
		t.Fatal(err)
	}
	if b.Ready(now, "key") == nil {
		t.Error("two try at once after a failure")
	}
	if b.Ready(now, "other") != nil {
		t.Error("another thing has to wait")
	}
	if b.Ready(now.Add(-time.Hour), "key") != nil {
		t.Error("a clock that was set back makes it wait")
	}
	b.Done(now, "key", nil, 0)
	if b.Ready(now, "key") != nil {
		t.Error("it has to wait after a success")
	}
}
