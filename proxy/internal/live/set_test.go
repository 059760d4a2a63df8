package live

import (
	"context"
	"fmt"
	"iter"
	"net/http"
	"runtime/debug"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/agentproxy/agentproxy/proxy/internal/refuse"
)

// fake is an exchange that notes why it was cut.
type fake struct {
	Entry
	reason string
}

func (f *fake) Cut(reason string) { f.reason = reason }

// wide are bounds that no test reaches.
var wide = BoundsOf(1<<30, 1<<20)

// newFake adds an exchange of a label, which has been in a write since that time of the
// set's clock; 0: it is in none.
func newFake(t *testing.T, s *Set, label string, writing time.Duration) *fake {
	t.Helper()
	f := new(fake)
	f.Unread.Store(10)
	if refused := s.Add(f, label, nil); refused != nil {
		t.Fatal(refused)
	}
	f.writing.Store(int64(writing))
	return f
}

func wantBusy(t *testing.T, refused *refuse.Refusal, word string) {
	t.Helper()
	if refused == nil || refused.Code != "busy" || refused.Status != http.StatusServiceUnavailable ||
		!strings.Contains(refused.Message, word) || refused.Header().Get("Retry-After") == "" {
		t.Errorf("refused: %+v, want for %s", refused, word)
	}
}

// TestList has exchanges come and go.
func TestList(t *testing.T) {
	t.Parallel()
	s := NewSet(wide)
	a, b, c := newFake(t, s, "a", 0), newFake(t, s, "b", 0), newFake(t, s, "a", 0)
	for _, step := range []struct {
		gone *fake
		want []*fake
	}{{nil, []*fake{c, b, a}}, {b, []*fake{c, a}}, {b, []*fake{c, a}}, {c, []*fake{a}}, {a, nil}} {
		if step.gone != nil {
			called := false
			s.Remove(step.gone, func() { called = true })
			if !called {
				t.Error("nobody is told")
			}
		}
		var got []*fake
		s.Locked(func(all iter.Seq[Exchange]) {
			for e := range all {
				got = append(got, e.(*fake))
			}
		})
		if fmt.Sprint(got) != fmt.Sprint(step.want) {
			t.Errorf("%v are listed, want %v", got, step.want)
		}
	}
	if s.look(0) || len(s.labels) != 0 {
		t.Errorf("%d labels are remembered", len(s.labels))
	}
}

// TestRequestsOfLabel bounds the exchanges of each label.
func TestRequestsOfLabel(t *testing.T) {
	t.Parallel()
	b := wide
	b.Requests = 2
	s := NewSet(b)
	first := newFake(t, s, "a", 0)
	newFake(t, s, "a", 0)
	wantBusy(t, s.Add(new(fake), "a", nil), "limits.requests_per_label")
	newFake(t, s, "b", 0)
	s.Remove(first, func() {})
	newFake(t, s, "a", 0)
	b.Requests = 3
	s.SetBounds(b)
	newFake(t, s, "a", 0)
}

// TestHeadsOfLabel counts the bytes of heads, of each label and of all. A label that has
// none begins a request although the others have used up their part of what there is, but
// not with a large head, and not beyond what there is.
func TestHeadsOfLabel(t *testing.T) {
	t.Parallel()
	b := wide
	b.Heads = Share{All: 1200, Label: 650}
	s := NewSet(b)
	r := &http.Request{RequestURI: "/", Header: http.Header{"X": {strings.Repeat("x", 98)}}} // 100 bytes, and fieldBytes
	add := func(label string) *fake {
		t.Helper()
		f := new(fake)
		if refused := s.Add(f, label, r); refused != nil {
			t.Errorf("%s: %v", label, refused)
		}
		return f
	}
	first, second := add("a"), add("a")
	wantBusy(t, s.Add(new(fake), "a", r), "headers")
	add("b")
	wantBusy(t, s.Add(new(fake), "b", r), "headers") // of all labels
	add("c")                                         // which has none
	wantBusy(t, s.Add(new(fake), "c", r), "headers")
	wantBusy(t, s.Add(new(fake), "d", r), "headers") // of all there is
	s.Remove(first, func() {})
	wantBusy(t, s.Add(new(fake), "b", r), "headers") // there are as many as before c
	s.Remove(second, func() {})
	add("b")
	if s.heads != 900 {
		t.Errorf("%d bytes are counted", s.heads)
	}
	if s.TakeHeadOf("c", 100) {
		t.Error("a label that has some got more in the making")
	}
	if !s.TakeHeadOf("e", 100) || s.heads != 1000 {
		t.Errorf("%d bytes are counted with those of a head in the making", s.heads)
	}
	s.TakeHeadOf("e", -100)
	if _, kept := s.labels["e"]; kept || s.heads != 900 {
		t.Error("a label is kept of which nothing is in use")
	}
	long := &http.Request{RequestURI: "/" + strings.Repeat("x", 650)}
	wantBusy(t, s.Add(new(fake), "d", long), "headers") // more than a label's
}

// TestEmptyFieldsCount: a field without a value takes memory too, and so does each of
// several of one name.
func TestEmptyFieldsCount(t *testing.T) {
	t.Parallel()
	b := wide
	b.Heads.Label = 10 * fieldBytes
	for name, test := range map[string]struct {
		header  http.Header
		refused bool
	}{
		"nine":          {http.Header{"A": make([]string, 9)}, false},
		"ten":           {http.Header{"A": make([]string, 10)}, true},
		"nine, and one": {http.Header{"A": make([]string, 9), "B": {""}}, true},
	} {
		refused := NewSet(b).Add(new(fake), "a", &http.Request{Header: test.header})
		if test.refused {
			wantBusy(t, refused, "headers")
		} else if refused != nil {
			t.Errorf("%s: %v", name, refused)
		}
	}
}

// TestBodiesOfLabel bounds what is held of bodies.
func TestBodiesOfLabel(t *testing.T) {
	t.Parallel()
	b := wide
	b.Bodies = Share{All: 250, Label: 150}
	s := NewSet(b)
	x, y, z := newFake(t, s, "a", 0), newFake(t, s, "b", 0), newFake(t, s, "c", 0)
	for _, step := range []struct {
		f    *fake
		n    int64
		want bool
	}{{x, 100, true}, {x, 100, false}, {x, 50, true}, {x, 1, false}, {y, 100, true}, {y, 50, false}, {z, 1, false}} {
		if got := step.f.Take(step.n); got != step.want {
			t.Errorf("%s takes %d: %t", step.f.label.name, step.n, got)
		}
	}
	x.Give(150)
	if !z.Take(150) || s.bodies.Load() != 250 {
		t.Errorf("%d bytes are held", s.bodies.Load())
	}
}

// TestStrangers bounds what those send who are not admitted yet.
func TestStrangers(t *testing.T) {
	t.Parallel()
	b := wide
	b.Strangers = 100
	s := NewSet(b)
	if !s.TakeHead(60) || s.TakeHead(60) || !s.TakeHead(40) || s.TakeHead(1) || !s.TakeHead(-60) || !s.TakeHead(60) {
		t.Errorf("%d bytes are counted", s.strangers.Load())
	}
}

// TestUnread cuts the exchanges of a label that wait longest for their client to read,
// and admits no more of it while there is no room.
func TestUnread(t *testing.T) {
	t.Parallel()
	b := wide
	b.Unread = Share{All: 60, Label: 30} // three exchanges of each label, six of all
	const now = 10 * time.Second
	cut := func(all ...*fake) (n int) {
		for _, f := range all {
			if f.reason == ReasonUnread {
				n++
			}
		}
		return n
	}
	s := NewSet(b)
	old, quick, idle := newFake(t, s, "a", time.Second), newFake(t, s, "a", now-grace+1), newFake(t, s, "a", 0)
	young := []*fake{newFake(t, s, "a", 3*time.Second), newFake(t, s, "a", 2*time.Second)}
	other := newFake(t, s, "b", time.Second/2)
	s.look(int64(now))
	if cut(old, quick, idle, other, young[0], young[1]) != 0 {
		t.Error("exchanges were cut that there is room for")
	}
	wantBusy(t, s.Add(new(fake), "a", nil), `label "a"`)
	newFake(t, s, "b", 0)
	newFake(t, s, "c", 0)

	quick.writing.Store(int64(now - grace)) // one more
	s.look(int64(now))
	if cut(old) != 1 || cut(quick, idle, other, young[0], young[1]) != 0 {
		t.Error("not the one that waits longest was cut")
	}
	s.Remove(old, func() {})
	quick.EndWrite() // read
	s.look(int64(now))
	newFake(t, s, "a", 0)

	// All labels together: of the one that has most unread, and then of that which waits
	// longest. Those that have something unread get no more.
	var labels []*fake
	for i := range 6 {
		labels = append(labels, newFake(t, s, fmt.Sprint("label", i), time.Second))
	}
	s.look(int64(now))
	if cut(young[1], other) != 2 || cut(young[0]) != 0 || cut(labels...) != 1 {
		t.Errorf("cut: %d and %d, %d, %d", cut(young[1]), cut(other), cut(young[0]), cut(labels...))
	}
	s.look(int64(now))
	if s.unread > b.Unread.All || s.unread != 60 {
		t.Errorf("%d bytes are unread", s.unread)
	}
	wantBusy(t, s.Add(new(fake), "a", nil), `label "a"`)
	newFake(t, s, "innocent", 0)
}

// TestStall cuts an exchange whose client lets nothing through for its time, once.
func TestStall(t *testing.T) {
	t.Parallel()
	s := NewSet(wide)
	a, b := newFake(t, s, "a", time.Second), newFake(t, s, "a", time.Second)
	a.Stall = time.Minute
	for _, step := range []struct {
		now  time.Duration
		want string
	}{{time.Minute, ""}, {time.Minute + time.Second, ReasonStalled}} {
		s.look(int64(step.now))
		if a.reason != step.want || b.reason != "" {
			t.Errorf("after %s: %q, %q", step.now, a.reason, b.reason)
		}
	}
	a.reason = ""
	s.look(int64(time.Hour))
	if a.reason != "" {
		t.Error("it was cut twice")
	}
}

// TestWatch looks as long as something runs, begins again when something does, and rests
// meanwhile.
func TestWatch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := NewSet(wide)
		looks := 0
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go s.Watch(ctx, func() { looks++ })
		for range 2 {
			f := newFake(t, s, "a", 0)
			f.Stall = time.Second
			f.BeginWrite()
			time.Sleep(time.Minute)
			synctest.Wait()
			if f.reason != ReasonStalled {
				t.Errorf("cut: %q", f.reason)
			}
			s.Remove(f, func() {})
			time.Sleep(time.Minute)
			synctest.Wait()
			before := looks
			time.Sleep(time.Hour)
			synctest.Wait()
			if looks != before || before == 0 {
				t.Errorf("it looked %d times, and %d times when nothing ran", before, looks-before)
			}
		}
	})
}

// TestBoundsOfProcess divides half of the memory limit of the process. It is not parallel, for it
// sets that.
func TestBoundsOfProcess(t *testing.T) {
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(1 << 30))
	if got, want := BoundsOf(0, 5), BoundsOf(512<<20, 5); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// TestManyWindows has a label take windows until others should not wait for what comes.
func TestManyWindows(t *testing.T) {
	t.Parallel()
	s := NewSet(wide)
	for i, test := range []struct {
		label string
		bytes int64
		many  bool
	}{{"a", sharedWindows, false}, {"b", 1, false}, {"a", 1, true}, {"b", 1, false}} {
		f := newFake(t, s, test.label, 0)
		defer s.Remove(f, func() {})
		if f.TakeWindow(test.bytes, 1); f.Many != test.many {
			t.Errorf("%d: %s has many: %t", i, test.label, f.Many)
		}
	}
}

// TestWindows has exchanges take windows until there is room for small ones alone, and give them
// back. A label finds room for one when others have three quarters of all.
func TestWindows(t *testing.T) {
	t.Parallel()
	b := wide
	b.Windows = Share{All: 100, Label: 50}
	s := NewSet(b)
	var all []*fake
	take := func(label string) *fake {
		f := newFake(t, s, label, 0)
		f.TakeWindow(20, 3)
		return f
	}
	for i, test := range []struct {
		label string
		want  int64
	}{{"a", 20}, {"a", 20}, {"a", 3}, {"b", 20}, {"a", 3}, {"b", 3}, {"c", 20}, {"c", 3}, {"d", 20}, {"d", 3}, {"e", 3}} {
		f := take(test.label)
		if f.Window != test.want {
			t.Errorf("%d: %s has %d, want %d", i, test.label, f.Window, test.want)
		}
		all = append(all, f)
	}
	s.Remove(all[2], func() {}) // which had none
	s.Remove(all[0], func() {})
	last := take("e")
	if last.Window != 20 {
		t.Error("what was given back is not there")
	}
	for range 2 { // the second time there is nothing to give
		last.GiveWindow()
	}
	next := take("e")
	if next.Window != 20 {
		t.Error("what was given back before the end is not there")
	}
	for _, f := range append(all, last, next) {
		s.Remove(f, func() {})
	}
	last.GiveWindow()
	if s.windows != 0 {
		t.Errorf("%d bytes are left", s.windows)
	}
	for name, l := range s.labels {
		if l.windows != 0 {
			t.Errorf("%s has %d bytes left", name, l.windows)
		}
	}
}
