package track

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// take takes turns of a key one after another, which take no time.
func take(turns *Turns, key Key, n int) {
	for range n {
		var turn Turn
		turns.Begin(&turn, key)
		turn.End()
	}
}

// takeAtOnce has as many goroutines as there are keys wait for a turn, which takes no time, and
// returns the names of the keys in their order, with the milliseconds after which they had it.
func takeAtOnce(turns *Turns, keys ...Key) (order []string) {
	var holds []*Turn
	for range turns.most {
		holds = append(holds, new(Turn))
		turns.Begin(holds[len(holds)-1], Key{Server, "first"})
	}
	begun := time.Now()
	var mu sync.Mutex
	var all sync.WaitGroup
	for _, key := range keys {
		all.Go(func() {
			var turn Turn
			turns.Begin(&turn, key)
			mu.Lock()
			order = append(order, fmt.Sprint(key.Name, time.Since(begun).Milliseconds()))
			mu.Unlock()
			turn.End()
		})
		synctest.Wait()
	}
	for _, turn := range holds {
		turn.End()
	}
	all.Wait()
	return order
}

// left reports whether something is left of turns that have all ended.
func left(turns *Turns) bool {
	return turns.queued != 0 || turns.slow != 0 || turns.busy.n+turns.waiting.n+turns.strangers.within.n > 0 || len(turns.taken) > 0 || len(turns.keys) > 0
}

// TestBusyRest has a label take more turns than others have to wait for. It rests after each that
// follows while a crowd waits and another label works that has little to do, and nobody else waits
// for that.
func TestBusyRest(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		prepare func(turns *Turns)
		waiting int
		rests   int
	}{
		"while another works":      {func(turns *Turns) { turns.NoteLight("other", time.Now()) }, crowd + 6, 6},
		"without a crowd":          {func(turns *Turns) { turns.NoteLight("other", time.Now()) }, crowd, 0},
		"while nobody works":       {func(*Turns) {}, crowd + 6, 0},
		"after another has worked": {func(turns *Turns) { turns.NoteLight("other", time.Now().Add(-lightTime)) }, crowd + 6, 0},
		"while it works":           {func(turns *Turns) { turns.NoteLight("busy", time.Now()) }, crowd + 6, 0},
		"while another is busy": {func(turns *Turns) {
			turns.NoteLight("other", time.Now())
			take(turns, Key{Label, "other"}, busyTurns+1)
		}, crowd + 6, 0},
		"while another has much to do": {func(turns *Turns) { take(turns, Key{Label, "other"}, 2*fewTurns); turns.NoteLight("other", time.Now()) }, crowd + 6, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				turns := NewTurns(1)
				test.prepare(turns)
				busy := Key{Label, "busy"}
				all := slices.Repeat([]Key{busy}, test.waiting)
				if order := takeAtOnce(turns, all...); order[len(order)-1] != "busy0" {
					t.Errorf("the first turns waited: %s", order)
				}
				take(turns, busy, busyTurns)
				if order, want := takeAtOnce(turns, all...), fmt.Sprint("busy", test.rests); order[len(order)-1] != want {
					t.Errorf("%s, and no rests until %s", order, want)
				}
				time.Sleep(time.Minute)
				turns.NoteLight("other", time.Now())
				if order := takeAtOnce(turns, all...); order[len(order)-1] != "busy0" {
					t.Errorf("a minute later: %s", order)
				}
				if left(turns) {
					t.Error("something is left")
				}
			})
		})
	}
}

// TestRestsLeaveTurns has others take the turns that busy labels rest from, of several at a time.
func TestRestsLeaveTurns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		turns := NewTurns(2)
		turns.NoteLight("other", time.Now())
		busy := Key{Label, "busy"}
		take(turns, busy, busyTurns+1)
		order := takeAtOnce(turns, slices.Repeat([]Key{busy}, 2*crowd+6)...)
		if got, want := order[len(order)-1], "busy3"; got != want {
			t.Errorf("%s, want a rest for every two turns", order)
		}
		var waits [2*crowd + 6]Turn
		for i := range waits {
			go turns.Begin(&waits[i], busy)
		}
		synctest.Wait()
		waits[0].End()
		waits[1].End()
		begun := time.Now()
		for _, key := range []Key{{Server, ""}, {Label, "new"}, {Stranger, "new"}} {
			take(turns, key, fewTurns)
		}
		if waited := time.Since(begun); waited > 0 {
			t.Errorf("others waited for %s while a busy label rests", waited)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		for i := range waits {
			waits[i].End()
		}
		if left(turns) {
			t.Error("something is left")
		}
	})
}

// TestBusyInTurn has busy labels and others wait at once: after each rest another busy label has
// its turn, however many turns wait under one.
func TestBusyInTurn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		turns := NewTurns(1)
		turns.NoteLight("other", time.Now())
		a, b := Key{Label, "a"}, Key{Label, "b"}
		take(turns, a, busyTurns+1)
		take(turns, b, busyTurns+1)
		order := takeAtOnce(turns, append([]Key{a, a, b, a, b, {Label, "c"}, {Stranger, "d"}}, slices.Repeat([]Key{a}, crowd+3)...)...)
		// The busy ones' first turn is one in a round of all; c and d wait for no rest.
		if got, want := strings.Join(order[:7], " "), "c0 a0 d0 b1 a2 b3 a4"; got != want {
			t.Errorf("%q, want %q", got, want)
		}
		if left(turns) {
			t.Error("something is left")
		}
	})
}

// TestBecomingBusy has a label become busy while it waits for many turns: it rests from then on.
func TestBecomingBusy(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		turns := NewTurns(1)
		turns.NoteLight("other", time.Now())
		key := Key{Label, "a"}
		take(turns, key, busyTurns-1)
		order := takeAtOnce(turns, slices.Repeat([]Key{key}, crowd+6)...)
		if got, want := strings.Join(order[:8], " "), "a0 a0 a0 a1 a2 a3 a4 a4"; got != want {
			t.Errorf("%q, want %q", got, want)
		}
		if left(turns) {
			t.Error("something is left")
		}
	})
}

// TestLongHeads has many clients send long heads: together they get as many turns as one busy label,
// and rest like it, and those that send short ones do not.
func TestLongHeads(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		turns := NewTurns(1)
		busy := Key{Label, "a"}
		take(turns, busy, busyTurns+1)
		keys := []Key{{Slow, "1"}, {Slow, "2"}, {Slow, "3"}, busy, busy, busy}
		if got, want := strings.Join(takeAtOnce(turns, keys...), " "), "10 a0 20 a0 30 a0"; got != want {
			t.Errorf("%q, want %q", got, want)
		}
		turns.NoteLight("other", time.Now())
		keys = append(slices.Repeat([]Key{{Slow, "1"}}, crowd+2), Key{Stranger, "2"})
		if got, want := strings.Join(takeAtOnce(turns, keys...)[:5], " "), "10 20 11 12 12"; got != want {
			t.Errorf("%q, want %q", got, want)
		}
		if left(turns) {
			t.Error("something is left")
		}
	})
}

// TestNoteLight notes a label each second, and none that has much to do.
func TestNoteLight(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		turns := NewTurns(1)
		light := func() string { return turns.work.light }
		turns.NoteLight("a", time.Now())
		turns.NoteLight("b", time.Now())
		if light() != "a" {
			t.Errorf("%q is noted, and another was just before", light())
		}
		time.Sleep(time.Second)
		take(turns, Key{Label, "b"}, 2*fewTurns)
		turns.NoteLight("b", time.Now())
		if light() != "a" {
			t.Errorf("%q is noted, which has much to do", light())
		}
		time.Sleep(10 * time.Millisecond)
		turns.NoteLight("c", time.Now())
		if light() != "c" {
			t.Errorf("%q is noted, and c works", light())
		}
	})
}

// TestManyBusy has so many labels take turns that they are busy together, though none would be by
// itself. Those that have had a few are not.
func TestManyBusy(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		turns := NewTurns(1)
		turns.NoteLight("other", time.Now())
		const each = 2 * fewTurns
		for i := range manyTurns / each {
			take(turns, Key{Label, fmt.Sprint(i)}, each)
		}
		all := slices.Repeat([]Key{{Label, "0"}}, crowd+6)
		if order := takeAtOnce(turns, all...); order[len(order)-1] != "00" {
			t.Errorf("before there are many: %s", order)
		}
		for i := range 2 {
			take(turns, Key{Label, fmt.Sprint("few", i)}, fewTurns)
		}
		if order := takeAtOnce(turns, all...); order[len(order)-1] != "06" {
			t.Errorf("one of many: %s", order)
		}
		if order := takeAtOnce(turns, slices.Repeat([]Key{{Label, "new"}}, crowd+6)...); order[len(order)-1] != "new0" {
			t.Errorf("a new one: %s", order)
		}
	})
}

// TestWorkForgotten keeps nothing of labels that have taken a turn some time ago.
func TestWorkForgotten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		turns := NewTurns(1)
		for i := range 10_000 {
			take(turns, Key{Label, fmt.Sprint(i)}, 1)
			time.Sleep(time.Second / busyRate / 10) // ten count at a time
		}
		if n := len(turns.work.labels); n > 200 {
			t.Errorf("%d are kept", n)
		}
	})
}

// TestBeginSlow has no more of those wait that send a long head than may, and others however many do.
func TestBeginSlow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		turns := NewTurns(1)
		var first Turn
		turns.Begin(&first, Key{Label, "first"})
		refused := 0
		begin := func(i int) {
			var turn Turn
			if !turns.BeginSlow(&turn, fmt.Sprint(i%3)) {
				refused++
				turn.End() // has no turn
				return
			}
			turn.End()
		}
		for i := range mostSlow + 10 {
			go begin(i)
			synctest.Wait()
		}
		if refused != 10 {
			t.Errorf("%d were refused, want 10", refused)
		}
		go take(turns, Key{Stranger, "new"}, 1)
		first.End()
		synctest.Wait()
		if begin(0); refused != 10 {
			t.Error("one is refused though nobody waits")
		}
		if left(turns) {
			t.Error("something is left")
		}
	})
}
