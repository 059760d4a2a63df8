package issued

import (
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestIssueHoldsUpNobody has a token be issued while the disk is slow: another process holds a
// lease on last-issued. Requests are judged meanwhile, and nobody has the token yet.
func TestIssueHoldsUpNobody(t *testing.T) {
	t.Parallel()
	c := newClock()
	tokens := Open(t.TempDir(), c.now, func(err error) { t.Error(err) })
	_, token := issue(t, tokens, "a", time.Hour)
	c.advance(time.Second)
	f, err := os.OpenFile(tokens.lastPath(), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lease := func(kind int) {
		t.Helper()
		if _, err := unix.FcntlInt(f.Fd(), unix.F_SETLEASE, kind); err != nil {
			t.Fatal(err)
		}
	}
	lease(unix.F_WRLCK)
	issued := make(chan error, 1)
	go func() {
		_, _, err := tokens.Issue(t.Context(), "b", time.Hour)
		issued <- err
	}()
	for {
		kind, err := unix.FcntlInt(f.Fd(), unix.F_GETLEASE, 0)
		if err != nil {
			t.Fatal(err)
		}
		if kind != unix.F_WRLCK {
			break // it is waited for
		}
		time.Sleep(time.Millisecond)
	}
	if tokens.mu.TryLock() {
		tokens.mu.Unlock()
		if err := tokens.Good(token); err != nil {
			t.Error(err)
		}
	} else {
		t.Error("a request would wait for the disk")
	}
	select {
	case err := <-issued:
		t.Errorf("the token was issued meanwhile: %v", err)
	default:
	}
	lease(unix.F_UNLCK)
	if err := <-issued; err != nil {
		t.Error(err)
	}
}
