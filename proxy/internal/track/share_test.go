package track

import (
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// sendAll has readers of each label send n bytes in pieces of 16 KiB, and returns how long those of
// each take.
func sendAll(turns *Turns, n int64, readers int, labels ...string) map[string]time.Duration {
	var mu sync.Mutex
	took := make(map[string]time.Duration)
	begun := time.Now()
	var all sync.WaitGroup
	for _, label := range labels {
		for range readers {
			all.Go(func() {
				for left := n / int64(readers); left > 0; left -= 16 << 10 {
					turns.AwaitShare(label, 16<<10)
				}
				mu.Lock()
				took[label] = max(took[label], time.Since(begun))
				mu.Unlock()
			})
		}
	}
	all.Wait()
	return took
}

// TestShare has labels send much while another works that has little to do. Together they send no more
// than their share, however many connections they have.
func TestShare(t *testing.T) {
	t.Parallel()
	const second = sendRate
	for name, test := range map[string]struct {
		most    int
		light   string
		readers int
		labels  []string
		bytes   int64 // of each
		want    time.Duration
	}{
		"one label":              {1, "light", 1, []string{"a"}, sendBurst + 4*second, 4 * time.Second},
		"on many connections":    {1, "light", 256, []string{"a"}, sendBurst + 4*second, 4 * time.Second},
		"with more turns":        {4, "light", 16, []string{"a"}, sendBurst + 4*second, time.Second},
		"two labels":             {1, "light", 16, []string{"a", "b"}, sendBurst + 2*second, 4 * time.Second},
		"twenty labels":          {1, "light", 4, []string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", "q", "r", "s", "t"}, sendBurst + second/5, 4 * time.Second},
		"what may come at once":  {1, "light", 16, []string{"a"}, sendBurst, 0},
		"while nobody works":     {1, "", 16, []string{"a"}, 100 * second, 0},
		"while one works itself": {1, "a", 16, []string{"a"}, 100 * second, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				turns := NewTurns(test.most)
				if test.light != "" {
					turns.NoteLight(test.light, time.Now())
				}
				took := sendAll(turns, test.bytes, test.readers, test.labels...)
				for _, label := range test.labels {
					if d := took[label]; d > test.want*11/10 || d < test.want*9/10 {
						t.Errorf("%s: %s, want %s", label, d, test.want)
					}
				}
			})
		})
	}
}

// TestShareOfMany has many labels send, none of which is over what all may send by itself, or which wait
// for their turns more than for their share. Together they send no more than they may, and a label that
// sends little never waits.
func TestShareOfMany(t *testing.T) {
	t.Parallel()
	const piece, seconds = 16 << 10, 4
	for name, test := range map[string]struct {
		labels, readers int
		rate            int           // bytes a second that each reader would send
		work            time.Duration // in each turn
	}{
		"that each send less than all may": {20, 1, sendRate / 2, 0},
		"that wait for their turns":        {8, 2, 0, piece * time.Second / (4 * sendRate)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				turns := NewTurns(1)
				turns.NoteLight("light", time.Now())
				end := time.Now().Add(seconds * time.Second)
				var sent atomic.Int64
				var all sync.WaitGroup
				for i := range test.labels * test.readers {
					key := Key{Label, fmt.Sprint(i % test.labels)}
					all.Go(func() {
						for next := time.Now(); time.Now().Before(end); sent.Add(piece) {
							if test.rate > 0 {
								next = next.Add(time.Duration(piece * float64(time.Second) / float64(test.rate)))
								time.Sleep(time.Until(next))
							}
							turns.AwaitShare(key.Name, piece)
							var turn Turn
							turns.Begin(&turn, key)
							time.Sleep(test.work)
							turn.End()
						}
					})
				}
				for time.Now().Before(end) {
					turns.NoteLight("light", time.Now())
					begun := time.Now()
					turns.AwaitShare("little", 1<<10)
					if waited := time.Since(begun); waited > 0 {
						t.Errorf("a label with little to send waited for %s", waited)
						break
					}
					time.Sleep(10 * time.Millisecond)
				}
				all.Wait()
				if n := sent.Load() >> 20; n > seconds*sendRate*11/10>>20+int64(test.labels)*sendBurst>>20 || n < seconds*sendRate*9/10>>20 {
					t.Errorf("%d MiB were sent", n)
				} else {
					t.Logf("%d MiB were sent", n)
				}
			})
		})
	}
}

// TestShareOfOthers has a label send less than its share while another sends all it can. It never waits.
func TestShareOfOthers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		turns := NewTurns(1)
		turns.NoteLight("light", time.Now())
		var all sync.WaitGroup
		all.Go(func() { sendAll(turns, 4*sendRate, 16, "busy") })
		for range 100 {
			time.Sleep(10 * time.Millisecond)
			begun := time.Now()
			turns.AwaitShare("moderate", sendRate/100/3)
			if waited := time.Since(begun); waited > 0 {
				t.Fatalf("it waited for %s", waited)
			}
		}
		all.Wait()
	})
}

// TestTurnReaderSendsItsShare reads much in turns while another label works.
func TestTurnReaderSendsItsShare(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		turns := NewTurns(1)
		turns.NoteLight("light", time.Now())
		r := &TurnReader{Reader: readerFunc(func(p []byte) (int, error) { return len(p), nil }), Turns: turns, Key: Key{Shared, "a"}}
		go func() {
			time.Sleep(time.Second / 2)
			if n := turns.Taken(); n > 0 {
				t.Error("it waits in a turn")
			}
		}()
		begun := time.Now()
		if _, err := io.CopyN(io.Discard, r, sendBurst+sendRate); err != nil {
			t.Fatal(err)
		}
		r.End()
		if took := time.Since(begun); took.Round(100*time.Millisecond) != time.Second {
			t.Errorf("it took %s, want a second", took)
		}
	})
}

// TestShareOfRequests has labels ask for much at once while another works that has little to do. The
// requests begin one after another, those of two labels in turn.
func TestShareOfRequests(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		most   int
		light  string
		labels []string
		want   time.Duration
	}{
		"one label":          {1, "light", []string{"a"}, 100 * time.Second / askRate},
		"with more turns":    {4, "light", []string{"a"}, 25 * time.Second / askRate},
		"two labels":         {1, "light", []string{"a", "b"}, 200 * time.Second / askRate},
		"while nobody works": {1, "", []string{"a"}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				turns := NewTurns(test.most)
				if test.light != "" {
					turns.NoteLight(test.light, time.Now())
				}
				begun := time.Now()
				var all sync.WaitGroup
				for _, label := range test.labels {
					all.Go(func() {
						for range 100 + askBurst {
							turns.AwaitRequest(label)
						}
						if took := time.Since(begun); took > test.want*11/10 || took < test.want*9/10 {
							t.Errorf("%s: %s, want %s", label, took, test.want)
						}
					})
				}
				all.Wait()
				begun = time.Now()
				if turns.AwaitRequest("other"); time.Since(begun) != 0 {
					t.Error("another label waits")
				}
			})
		})
	}
}

// TestLongestPause has more come at once than a share of a second: what has waited for as long as
// anybody may goes on, and nothing is owed for it later.
func TestLongestPause(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		turns := NewTurns(1)
		turns.NoteLight("light", time.Now())
		for i := range 3 {
			begun := time.Now()
			turns.AwaitShare("a", 100*sendRate)
			if waited := time.Since(begun); waited.Round(time.Millisecond) != longestPause {
				t.Errorf("%d: it waited for %s", i, waited)
			}
		}
		time.Sleep(longestPause)
		if took := sendAll(turns, sendBurst/2, 1, "a"); took["a"] != 0 {
			t.Errorf("it waited for %s later", took["a"])
		}
	})
}

// TestSentForgotten keeps nothing of labels that have sent something some time ago.
func TestSentForgotten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		turns := NewTurns(1)
		for i := range 10_000 {
			turns.AwaitShare(fmt.Sprint(i), 1)
			time.Sleep(lightTime / 10) // ten count at a time
		}
		if n := len(turns.work.labels); n > 200 {
			t.Errorf("%d are kept", n)
		}
	})
}
