package netconn

import (
	"errors"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

// slowConn is a connection that takes one byte at a time, and not before the
// deadline has passed, except that it takes none of some.
type slowConn struct {
	net.Conn
	takes     []int
	took      strings.Builder
	deadlines []time.Time
}

func (c *slowConn) SetWriteDeadline(t time.Time) error {
	c.deadlines = append(c.deadlines, t)
	return nil
}

func (c *slowConn) Write(p []byte) (int, error) {
	if len(c.takes) == 0 {
		return c.took.Write(p)
	}
	n := c.takes[0]
	c.takes = c.takes[1:]
	c.took.Write(p[:n])
	return n, os.ErrDeadlineExceeded
}

// TestSlowReaderIsNotCut has a client that takes a byte now and then.
func TestSlowReaderIsNotCut(t *testing.T) {
	t.Parallel()
	slow := &slowConn{takes: []int{1, 1, 1}}
	c := NewStallConn(slow, time.Hour, Head{}, func() {})
	if n, err := c.Write([]byte("abcdef")); n != 6 || err != nil || slow.took.String() != "abcdef" {
		t.Errorf("%d, %v; took %q", n, err, slow.took.String())
	}
	slow.takes = []int{2, 0}
	if n, err := c.Write([]byte("abcdef")); n != 2 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%d, %v", n, err)
	}
	// The deadline of whoever owns the connection holds whatever is taken.
	past := time.Unix(1, 0)
	_ = c.SetWriteDeadline(past)
	slow.takes, slow.deadlines = []int{1, 1}, nil
	if n, err := c.Write([]byte("abcdef")); n != 1 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%d, %v", n, err)
	}
	if !slow.deadlines[0].Equal(past) {
		t.Errorf("the deadline became %v", slow.deadlines[0])
	}
	_ = c.SetWriteDeadline(time.Time{})
	_, _ = c.Write([]byte("x"))
	_, _ = c.ReadFrom(strings.NewReader("x"))
	if last := slow.deadlines[len(slow.deadlines)-1]; !last.IsZero() {
		t.Errorf("a tunnel has the deadline %v", last)
	}
}

// TestStallDeadline: the deadline is renewed before it has lost much of the
// stall's time, and the owner's own one is kept to.
func TestStallDeadline(t *testing.T) {
	t.Parallel()
	counting := &deadlineCounter{}
	c := NewStallConn(counting, 16*time.Minute, Head{}, func() {})
	begin := time.Now()
	for _, step := range []struct {
		after time.Duration
		set   int
	}{{0, 1}, {time.Second, 1}, {time.Minute - time.Second, 1}, {time.Minute, 2}, {time.Minute + time.Second, 2}} {
		c.renewDeadline(begin.Add(step.after))
		if counting.set != step.set {
			t.Errorf("after %s the deadline was set %d times, want %d", step.after, counting.set, step.set)
		}
	}
	for _, owners := range []time.Duration{time.Minute, time.Hour} {
		_ = c.SetWriteDeadline(begin.Add(owners))
		c.renewDeadline(begin)
		if got, want := counting.last.Sub(begin), min(owners, c.stall); got != want {
			t.Errorf("with the owner's at %s, writing fails after %s, want %s", owners, got, want)
		}
	}
}

type deadlineCounter struct {
	net.Conn
	set  int
	last time.Time
}

func (c *deadlineCounter) SetWriteDeadline(t time.Time) error {
	c.set++
	c.last = t
	return nil
}
