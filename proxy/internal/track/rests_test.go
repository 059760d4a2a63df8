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

// inTurn returns n of some keys, which come one after another.
func inTurn(n int, keys ...Key) (all []Key) {
	for i := range n {
		all = append(all, keys[i%len(keys)])
	}
	return all
}

// busyLabels makes labels busy that have names of one letter.
func busyLabels(turns *Turns, names string) (all []Key) {
	for _, name := range strings.Split(names, "") {
		all = append(all, Key{Label, name})
		take(turns, all[len(all)-1], busyTurns+1)
	}
	return all
}

// of returns what there is in an order of some names of one letter.
func of(order []string, names string) (some []string) {
	for _, o := range order {
		if strings.Contains(names, o[:1]) {
			some = append(some, o)
		}
	}
	return some
}

// left reports whether something is left of turns that have all ended.
func left(turns *Turns) bool {
	return turns.queued != 0 || turns.slow != 0 || turns.busy.n+turns.waiting.n+turns.strangers.within.n > 0 || len(turns.taken) > 0 || len(turns.keys) > 0
}

// TestBusyRest has labels take more turns than others have to wait for. They rest after each that
// follows while a crowd of several waits and another label works that has little to do, and nobody else
// waits for that.
func TestBusyRest(t *testing.T) {
	t.Parallel()
	otherWorks := func(turns *Turns) { turns.NoteLight("other", time.Now()) }
	for name, test := range map[string]struct {
		prepare func(turns *Turns)
		labels  string
		waiting int
		rests   int
	}{
		"while another works":      {otherWorks, "abc", crowd + 6, 6},
		"without a crowd":          {otherWorks, "abc", crowd - 1, 0},
		"as a crowd begins":        {otherWorks, "abc", crowd + 1, 1},
		"without several":          {otherWorks, "ab", crowd + 6, 0},
		"while nobody works":       {func(*Turns) {}, "abc", crowd + 6, 0},
		"after another has worked": {func(turns *Turns) { turns.NoteLight("other", time.Now().Add(-lightTime)) }, "abc", crowd + 6, 0},
		"while they work":          {func(turns *Turns) { turns.NoteLight("a", time.Now()) }, "abc", crowd + 6, 0},
		"while another is busy": {func(turns *Turns) {
			turns.NoteLight("other", time.Now())
			take(turns, Key{Label, "other"}, busyTurns+1)
		}, "abc", crowd + 6, 0},
		"while another has much to do": {func(turns *Turns) { take(turns, Key{Label, "other"}, 2*fewTurns); turns.NoteLight("other", time.Now()) }, "abc", crowd + 6, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				turns := NewTurns(1)
				test.prepare(turns)
				var all []Key
				for _, name := range strings.Split(test.labels, "") {
					all = append(all, Key{Label, name})
				}
				all = inTurn(test.waiting, all...)
				rests := func(want int) {
					t.Helper()
					order := takeAtOnce(turns, all...)
					if last := order[len(order)-1]; last[1:] != fmt.Sprint(want) {
						t.Errorf("%s, want %d rests", order, want)
					}
				}
				rests(0)
				busyLabels(turns, test.labels)
				rests(test.rests)
				time.Sleep(time.Minute)
				turns.NoteLight("other", time.Now())
				rests(0)
				if left(turns) {
					t.Error("something is left")
				}
			})
		})
	}
}

// TestSharedTurnsAreNoReasonToRest has busy labels take turns for what they have waited for their share of:
// no rest follows, nor do they wait for one. They count as the label's all the same.
func TestSharedTurnsAreNoReasonToRest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		turns := NewTurns(1)
		turns.NoteLight("other", time.Now())
		busy := busyLabels(turns, "abc")
		keys := inTurn(2*crowd, busy...)
		for range crowd {
			keys = append(keys, Key{Shared, "d"})
		}
		order := takeAtOnce(turns, keys...)
		if d := of(order, "d"); d[0] != "d0" || d[crowd-1] != "d0" {
			t.Errorf("%s", order)
		}
		if turns.work.isLight("d", time.Now()) {
			t.Error("it has little to do")
		}
	})
}

// TestRestsLeaveTurns has others take the turns that busy labels rest from, of several at a time.
func TestRestsLeaveTurns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		turns := NewTurns(2)
		turns.NoteLight("other", time.Now())
		busy := busyLabels(turns, "abc")
		order := takeAtOnce(turns, inTurn(2*crowd+6, busy...)...)
		if got := order[len(order)-1]; got[1:] != "3" {
			t.Errorf("%s, want a rest for every two turns", order)
		}
		var waits [2*crowd + 6]Turn
		for i := range waits {
			go turns.Begin(&waits[i], busy[i%len(busy)])
			synctest.Wait()
		}
		waits[0].End()
		waits[1].End()
		begun := time.Now()
		for _, key := range []Key{{Server, ""}, {Label, "new"}, {Stranger, "new"}} {
			take(turns, key, fewTurns)
		}
		if waited := time.Since(begun); waited > 0 {
			t.Errorf("others waited for %s while busy labels rest", waited)
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

// TestRestsEndEarliestFirst has rests of two turns that ended one after the other: when the first is
// over, a busy label has its turn.
func TestRestsEndEarliestFirst(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		turns := NewTurns(2)
		turns.NoteLight("other", time.Now())
		busy := busyLabels(turns, "abc")
		var first [2]Turn
		for i := range first {
			turns.Begin(&first[i], busy[i])
		}
		begun := make(chan time.Time, 2*crowd+4)
		for _, key := range inTurn(cap(begun), busy...) {
			go func() {
				var turn Turn
				turns.Begin(&turn, key)
				begun <- time.Now()
				turn.End()
			}()
			synctest.Wait()
		}
		ended := time.Now()
		first[0].End()
		time.Sleep(restTime / 2)
		first[1].End()
		if after := (<-begun).Sub(ended); after != restTime {
			t.Errorf("a busy label's turn began after %s", after)
		}
		time.Sleep(time.Second)
	})
}

// TestRestWhenNobodyWaits has a busy label come during a rest, when all who had waited are through: it
// waits for the end of the rest, unless there is a turn besides.
func TestRestWhenNobodyWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		turns := NewTurns(2)
		turns.NoteLight("other", time.Now())
		busy := busyLabels(turns, "abcd")
		var first [2]Turn
		turns.Begin(&first[0], busy[3])
		turns.Begin(&first[1], Key{Server, ""})
		for _, key := range append(inTurn(3, busy...), inTurn(2*crowd, Key{Server, ""})...) {
			go take(turns, key, 1)
			synctest.Wait()
		}
		begun := time.Now()
		first[0].End()
		first[1].End()
		synctest.Wait()
		if left(turns) || len(turns.rests) != 1 || time.Since(begun) != 0 {
			t.Fatalf("%d rests", len(turns.rests))
		}
		var a, b, server Turn
		turns.Begin(&a, busy[0])
		if waited := time.Since(begun); waited != 0 {
			t.Errorf("it waited for %s though there was a turn besides", waited)
		}
		turns.Begin(&server, Key{Server, ""})
		server.End()
		turns.Begin(&b, busy[1])
		if waited := time.Since(begun); waited != restTime {
			t.Errorf("it waited for %s", waited)
		}
		a.End()
		b.End()
	})
}

// TestTurnEndsWhileBusyOnesRest has somebody who is not busy take a turn while only busy labels wait,
// for a rest. The turn ends when its time is over, too.
func TestTurnEndsWhileBusyOnesRest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		turns := NewTurns(1)
		turns.NoteLight("other", time.Now())
		busy := busyLabels(turns, "abc")
		var first, server Turn
		turns.Begin(&first, busy[0])
		for _, key := range inTurn(crowd, busy...) {
			go take(turns, key, 1)
			synctest.Wait()
		}
		first.End()
		begun := time.Now()
		turns.Begin(&server, Key{Server, ""})
		var last Turn
		turns.Begin(&last, Key{Server, "other"})
		if waited := time.Since(begun); waited != turnTime {
			t.Errorf("the next one waited for %s", waited)
		}
		last.End()
		time.Sleep(time.Second)
		synctest.Wait()
		if left(turns) {
			t.Error("something is left")
		}
	})
}

// TestBusyInTurn has busy labels and others wait at once: after each rest another busy label has
// its turn, however many turns wait under one. The turns of others are followed by none.
func TestBusyInTurn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		turns := NewTurns(1)
		take(turns, Key{Label, "other"}, 1)
		turns.NoteLight("other", time.Now())
		busyLabels(turns, "abe")
		keys := inTurn(2*crowd, Key{Label, "a"}, Key{Label, "a"}, Key{Label, "b"}, Key{Label, "e"})
		order := takeAtOnce(turns, append(keys, Key{Label, "c"}, Key{Stranger, "d"})...)
		// The busy ones' first turn is one in a round of all; c and d wait for no rest.
		if got, want := strings.Join(order[:8], " "), "c0 a0 d0 b1 e2 a3 b4 e5"; got != want {
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
		busyLabels(turns, "xy")
		key := Key{Label, "a"}
		take(turns, key, busyTurns-1)
		order := takeAtOnce(turns, append(inTurn(8, key), inTurn(3*crowd, Key{Label, "x"}, Key{Label, "y"})...)...)
		if got, want := strings.Join(of(order, "a")[:5], " "), "a0 a0 a0 a3 a6"; got != want {
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
		busyLabels(turns, "b")
		keys = append(inTurn(crowd+15, Key{Slow, "1"}, Key{Label, "a"}, Key{Label, "b"}), Key{Stranger, "2"})
		if got, want := strings.Join(of(takeAtOnce(turns, keys...), "12")[:4], " "), "10 20 13 16"; got != want {
			t.Errorf("%q, want %q", got, want)
		}
		if left(turns) {
			t.Error("something is left")
		}
	})
}

// TestNoteLight notes two labels that have little to do, and while both are at work no other: one is
// enough to each of those that have much to do, and may come to have much itself.
func TestNoteLight(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		turns := NewTurns(1)
		noted := func(want ...string) {
			t.Helper()
			got := []string{turns.work.light[0].name, turns.work.light[1].name}
			if slices.Sort(got); !slices.Equal(got, want) {
				t.Errorf("%q are noted, want %q", got, want)
			}
		}
		note := func(labels ...string) {
			for _, label := range labels {
				if !turns.NoteLight(label, time.Now()) {
					t.Errorf("%s has much to do", label)
				}
				time.Sleep(time.Millisecond)
			}
		}
		note("a", "a", "a")
		noted("", "a")
		note("b", "c")
		noted("a", "b")
		time.Sleep(time.Second)
		note("c", "d")
		noted("c", "d")
		time.Sleep(time.Second)
		take(turns, Key{Label, "e"}, fewTurns+1)
		if turns.NoteLight("e", time.Now()) {
			t.Error("a label is noted that has much to do")
		}
		noted("c", "d")
		note("d", "c", "d") // whoever has much to do does not keep others from it
		if at := turns.work.light; time.Since(at[0].at) > 10*time.Millisecond || time.Since(at[1].at) > 10*time.Millisecond {
			t.Error("they are not noted again")
		}
	})
}

// TestNotLightAnyMore has labels that were noted have much to do: they are no reason to wait for any more,
// and one that works besides is.
func TestNotLightAnyMore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		turns := NewTurns(1)
		work := func(want bool) {
			t.Helper()
			if got := turns.work.othersWork(new(work), time.Now()); got != want {
				t.Errorf("others work: %t, want %t", got, want)
			}
		}
		work(false)
		turns.NoteLight("a", time.Now())
		take(turns, Key{Label, "a"}, fewTurns)
		work(true)
		take(turns, Key{Label, "a"}, 1)
		work(false)
		turns.NoteLight("b", time.Now())
		work(true)
		if turns.work.othersWork(turns.work.of("b", time.Now()), time.Now()) {
			t.Error("b waits for itself")
		}
		take(turns, Key{Label, "b"}, fewTurns+1)
		work(false)
		turns.NoteLight("c", time.Now())
		work(true)
		time.Sleep(lightTime)
		work(false)
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
		rests := func(when, names string, want int) {
			t.Helper()
			var keys []Key
			for _, name := range strings.Split(names, "") {
				keys = append(keys, Key{Label, name})
			}
			if order := takeAtOnce(turns, inTurn(crowd+6, keys...)...); order[len(order)-1][1:] != fmt.Sprint(want) {
				t.Errorf("%s: %s", when, order)
			}
		}
		rests("before there are many", "012", 0)
		for i := range 2 {
			take(turns, Key{Label, fmt.Sprint("few", i)}, fewTurns)
		}
		rests("some of many", "012", 6)
		rests("new ones", "xyz", 0)
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
