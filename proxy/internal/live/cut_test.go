package live

import (
	"sync/atomic"
	"testing"
	"time"
)

// patience is how long a test waits for what ought to come at once.
const patience = time.Minute

// stream is an exchange whose Cut waits for the goroutine of its connection, as that of a
// stream of HTTP/2 does.
type stream struct {
	Entry
	conn *Conn
	cut  func()
}

func (s *stream) Cut(string) { s.cut() }

// TestCutWaitsForConnection cuts exchanges while the goroutine of their connection, for which
// that waits, finds the connection idle: their client has just reset them all.
func TestCutWaitsForConnection(t *testing.T) {
	t.Parallel()
	s := NewSet(wide)
	conn := new(Conn)
	for range 3 {
		x := &stream{conn: conn}
		x.Entry.Conn, x.Stall = conn, time.Second
		x.cut = func() {
			idle := make(chan struct{})
			go func() {
				defer close(idle)
				s.Idle(conn, func(Exchange) {})
			}()
			select {
			case <-idle:
			case <-time.After(patience):
				t.Error("the connection waits for the set, which waits for the connection")
			}
		}
		if refused := s.Add(x, "a", nil); refused != nil {
			t.Fatal(refused)
		}
		x.writing.Store(1)
	}
	s.look(int64(2 * time.Second))
}

// TestRemovedIsNotCut has an exchange end while it is cut, and just before: what it is cut by
// may be used until [Set.Remove] returns, and no longer.
func TestRemovedIsNotCut(t *testing.T) {
	t.Parallel()
	s := NewSet(wide)
	var usable, removing atomic.Bool
	usable.Store(true)
	removed := make(chan struct{})
	first, second := new(stream), new(stream)
	for _, x := range []*stream{first, second} {
		x.Stall = time.Second
		if refused := s.Add(x, "a", nil); refused != nil {
			t.Fatal(refused)
		}
		x.writing.Store(1)
	}
	// The latest is looked at first.
	first.cut = func() { t.Error("an exchange that has ended is cut") }
	second.cut = func() {
		s.Remove(first, func() {})
		go func() {
			defer close(removed)
			removing.Store(true)
			s.Remove(second, func() {})
			usable.Store(false)
		}()
		for end := time.Now().Add(50 * time.Millisecond); time.Now().Before(end); time.Sleep(time.Millisecond) {
			if !usable.Load() {
				t.Error("an exchange ends while it is cut")
			}
		}
	}
	s.look(int64(2 * time.Second))
	<-removed
	if s.look(int64(3 * time.Second)) {
		t.Error("an exchange is still listed")
	}
}

// TestIdleIsNotCut has the connection of an exchange that lingers become idle just before the
// exchange is cut, and carry others.
func TestIdleIsNotCut(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		idle bool // before another exchange begins
		edit func(b *Bounds)
		cut  bool
	}{
		"idle":                    {true, func(*Bounds) {}, false},
		"idle, with too much":     {true, func(b *Bounds) { b.Unread = Share{} }, false},
		"not idle":                {false, func(*Bounds) {}, false},
		"not idle, with too much": {false, func(b *Bounds) { b.Unread = Share{} }, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, conn := NewSet(wide), new(Conn)
			var cuts []string
			add := func() *stream {
				x := &stream{conn: conn}
				x.Entry.Conn, x.Stall = conn, time.Second
				x.cut = func() { cuts = append(cuts, name) }
				if refused := s.Add(x, "a", nil); refused != nil {
					t.Fatal(refused)
				}
				return x
			}
			x := add()
			if !s.Linger(x) {
				t.Fatal("it does not linger")
			}
			b := wide
			test.edit(&b)
			s.SetBounds(b)
			now := int64(2 * time.Second)
			if b.Unread.All == 0 { // it has been in the write for as long as [grace], and shorter than Stall
				now = int64(grace) + 1
			}
			x.writing.Store(1)
			list, _ := s.toCut(now)
			if len(list) != 1 {
				t.Fatalf("%d are to be cut", len(list))
			}
			if test.idle {
				s.Idle(conn, func(Exchange) {})
			}
			s.SetBounds(wide)
			add()
			for _, e := range list {
				s.end(e)
			}
			if len(cuts) > 0 != test.cut {
				t.Errorf("cut: %q", cuts)
			}
		})
	}
}
