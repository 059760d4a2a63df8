package live

import (
	"testing"
	"time"
)

// TestLinger leaves an exchange in the set until its connection is idle, if it was the only one
// there.
func TestLinger(t *testing.T) {
	t.Parallel()
	s, c := NewSet(wide), new(Conn)
	add := func() *fake {
		f := new(fake)
		f.Conn, f.Stall = c, time.Minute
		if refused := s.Add(f, "a", nil); refused != nil {
			t.Fatal(refused)
		}
		return f
	}
	listed := func(want ...*fake) {
		t.Helper()
		for e := s.first; e != nil; e = e.after {
			if len(want) == 0 || e.x != want[0] {
				t.Fatalf("%p is listed, want %v", e.x, want)
			}
			want = want[1:]
		}
		if len(want) > 0 {
			t.Fatalf("%v are not listed", want)
		}
	}
	var gone []Exchange
	idle := func() {
		gone = nil
		s.Idle(c, func(x Exchange) { gone = append(gone, x) })
	}
	if s.Linger(new(fake)) {
		t.Error("what is not listed lingers")
	}
	first, second := add(), add()
	if s.Linger(first) {
		t.Error("one of two lingers")
	}
	s.Remove(first, func() {})
	if !s.Linger(second) || !second.Lingers() {
		t.Error("the only one does not linger")
	}
	listed(second)
	idle()
	listed()
	if len(gone) != 1 || gone[0] != second {
		t.Errorf("%v are gone", gone)
	}
	if idle(); len(gone) != 0 {
		t.Errorf("%v are gone a second time", gone)
	}

	// One whose client takes nothing is cut, unless the connection may be busy with another.
	third := add()
	if !s.Linger(third) {
		t.Error("the third does not linger")
	}
	third.writing.Store(1)
	s.look(int64(2 * time.Minute))
	if third.reason != ReasonStalled {
		t.Errorf("cut: %q", third.reason)
	}
	idle()
	fourth := add()
	if !s.Linger(fourth) {
		t.Error("the fourth does not linger")
	}
	fifth := add()
	fourth.writing.Store(1)
	s.look(int64(2 * time.Minute))
	if fourth.reason != "" {
		t.Errorf("cut: %q", fourth.reason)
	}
	if s.Linger(fifth) {
		t.Error("two linger")
	}
	s.Remove(fifth, func() {})
	listed(fourth)
	idle()
	listed()
	if c.running != 0 || s.labels["a"].running != 0 {
		t.Errorf("%d run on the connection, %d of the label", c.running, s.labels["a"].running)
	}
}

// TestLingerOnClosed has the connection of an exchange be closed before its handler returns,
// when nobody would say any more that it is idle.
func TestLingerOnClosed(t *testing.T) {
	t.Parallel()
	s, c := NewSet(wide), new(Conn)
	x := new(fake)
	x.Conn = c
	if refused := s.Add(x, "a", nil); refused != nil {
		t.Fatal(refused)
	}
	s.Closed(c, func(Exchange) { t.Error("an exchange is gone that has not ended") })
	if s.Linger(x) {
		t.Error("it lingers for ever")
	}
	s.Remove(x, func() {})
	if s.look(1) || c.running != 0 {
		t.Error("something is still listed")
	}
}
