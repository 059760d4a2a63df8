package track

import (
	"fmt"
	"io"
	"slices"
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
				turns.Begin(&turn, Key{true, fmt.Sprint(i % 7)})
				done.Add(1)
				turn.End()
				turn.End() // does nothing
			}
		})
	}
	all.Wait()
	if done.Load() != workers*pieces || len(turns.taken) != 0 || turns.first != nil || len(turns.keys) != 0 {
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
				turns.Begin(&turn, Key{false, fmt.Sprint(i % 3)})
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

// TestTurnsByKey gives each key its turn, however many wait under another.
func TestTurnsByKey(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		turns := NewTurns(1)
		var first Turn
		turns.Begin(&first, Key{true, "greedy"})
		var order []string
		begin := func(name string) {
			go func() {
				var turn Turn
				turns.Begin(&turn, Key{true, name})
				order = append(order, name)
				turn.End()
			}()
			synctest.Wait()
		}
		for range 4 {
			begin("greedy")
		}
		begin("modest")
		begin("other")
		begin("modest")
		first.End()
		synctest.Wait()
		if want := []string{"greedy", "modest", "other", "greedy", "modest", "greedy", "greedy"}; !slices.Equal(order, want) {
			t.Errorf("%q", order)
		}
	})
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
		if turns.first != nil || len(turns.taken) != 0 {
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

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
