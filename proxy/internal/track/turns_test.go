package track

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestTurns has many take turns in parallel. All do, and nothing is left.
func TestTurns(t *testing.T) {
	t.Parallel()
	const workers, pieces = 50, 100
	turns := NewTurns(3)
	var done atomic.Int64
	var all sync.WaitGroup
	for i := range workers {
		all.Go(func() {
			var turn Turn
			for range pieces {
				turns.Begin(&turn, Key{Kind(i % 3), fmt.Sprint(i % 7)})
				done.Add(1)
				turn.End()
				turn.End() // does nothing
			}
		})
	}
	all.Wait()
	if done.Load() != workers*pieces || len(turns.taken) != 0 || turns.waiting.n+turns.busy.n != 0 || len(turns.keys) != 0 {
		t.Errorf("%d pieces are done, %d turns taken, %d keys kept", done.Load(), len(turns.taken), len(turns.keys))
	}
}

// TestTurnsBounded has no more work at a time than there are turns.
func TestTurnsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { // where work takes no time
		turns := NewTurns(2)
		var working atomic.Int64
		var all sync.WaitGroup
		for i := range 100 {
			all.Go(func() {
				var turn Turn
				turns.Begin(&turn, Key{Stranger, fmt.Sprint(i % 3)})
				defer turn.End()
				if n := working.Add(1); n > 2 {
					t.Errorf("%d work", n)
				}
				time.Sleep(turnTime / 10)
				working.Add(-1)
			})
		}
		all.Wait()
	})
}

// TestTurnsByKey gives each key its turn, however many wait under another, and all strangers
// together no more than one who is admitted.
func TestTurnsByKey(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ waiting, want string }{
		"of one label":          {"greedy greedy greedy modest other modest", "greedy modest other greedy modest greedy"},
		"of one stranger":       {"?greedy ?greedy ?greedy ?modest ?other ?modest", "?greedy ?modest ?other ?greedy ?modest ?greedy"},
		"of many strangers":     {"?1 ?2 ?3 ?4 a a b", "?1 a b ?2 a ?3 ?4"},
		"behind a label":        {"a a a ?1 ?1 ?2", "a ?1 a ?2 a ?1"},
		"strangers named alike": {"?a a ?a a", "?a a ?a a"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				turns := NewTurns(1)
				var first Turn
				turns.Begin(&first, Key{Label, "first"})
				var order []string
				for _, key := range strings.Fields(test.waiting) {
					go func() {
						var turn Turn
						as := Key{Label, key}
						if stranger, ok := strings.CutPrefix(key, "?"); ok {
							as = Key{Stranger, stranger}
						}
						turns.Begin(&turn, as)
						order = append(order, key)
						turn.End()
					}()
					synctest.Wait()
				}
				first.End()
				synctest.Wait()
				if got := strings.Join(order, " "); got != test.want {
					t.Errorf("%q, want %q", got, test.want)
				}
				if turns.waiting.n+turns.busy.n != 0 || turns.strangers.within.n != 0 || len(turns.keys) != 0 {
					t.Error("something is left")
				}
			})
		})
	}
}

// TestTurnEnds ends the turn of who is kept waiting, as soon as somebody else has waited for it.
func TestTurnEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		turns := NewTurns(1)
		var stuck, other, third Turn
		turns.Begin(&stuck, Key{})
		time.Sleep(time.Hour) // nobody waits
		if !stuck.taken.Load() {
			t.Error("a turn has ended that nobody waits for")
		}
		turns.Begin(&other, Key{})
		begun := time.Now()
		turns.Begin(&third, Key{})
		if took := time.Since(begun); took != turnTime || other.taken.Load() {
			t.Errorf("the next turn began after %s", took)
		}
		stuck.End() // not the turn of another
		if !third.taken.Load() || len(turns.taken) != 1 {
			t.Error("a turn that was over has ended another")
		}
		third.End()
		if turns.waiting.n+turns.busy.n != 0 || len(turns.taken) != 0 {
			t.Error("something is left")
		}
	})
}

// TestTurnReader takes a turn for what was read beyond the first bytes, and none while it reads.
func TestTurnReader(t *testing.T) {
	t.Parallel()
	turns := NewTurns(1)
	reads := 0
	r := &TurnReader{Reader: readerFunc(func(p []byte) (int, error) {
		if reads++; turns.Taken() != 0 {
			t.Errorf("read %d is in a turn", reads)
		}
		if reads == 4 {
			return 0, io.EOF
		}
		return 2, nil
	}), Turns: turns, Free: 3}
	for i, want := range []int{0, 1, 1, 0} {
		_, _ = r.Read(make([]byte, 2))
		if got := turns.Taken(); got != want {
			t.Errorf("after read %d: %d turns, want %d", i+1, got, want)
		}
		if i == 2 {
			r.End()
			if turns.Taken() != 0 {
				t.Error("the turn has not ended")
			}
		}
	}
	(*TurnReader)(nil).End()
}

// TestTurnReaderEnds has a reader end while another goroutine reads from it, which waits for a
// turn or for what comes. It keeps none.
func TestTurnReaderEnds(t *testing.T) {
	t.Parallel()
	for name, waits := range map[string]bool{"waiting for a turn": true, "reading": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				turns := NewTurns(1)
				var other Turn
				if waits {
					turns.Begin(&other, Key{})
				}
				come := make(chan struct{})
				r := &TurnReader{Reader: readerFunc(func([]byte) (int, error) { <-come; return 1, nil }), Turns: turns}
				go func() { _, _ = r.Read(make([]byte, 1)) }()
				if waits {
					close(come)
				}
				synctest.Wait()
				r.End()
				if waits {
					other.End()
				} else {
					close(come)
				}
				synctest.Wait()
				if n := turns.Taken(); n != 0 {
					t.Errorf("%d turns are taken, and nobody works", n)
				}
			})
		})
	}
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
