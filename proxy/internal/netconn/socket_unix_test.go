//go:build unix

package netconn

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"
)

// newSocketPair returns a Socket and the other end of its connection.
func newSocketPair(t *testing.T) (*Socket, *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dialed, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	s, err := NewSocket(dialed)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close(); accepted.Close() })
	return s, accepted.(*net.TCPConn)
}

// TestSocket has more come and go than the system's buffers hold, and then an end.
func TestSocket(t *testing.T) {
	t.Parallel()
	s, peer := newSocketPair(t)
	want := bytes.Repeat([]byte("0123456789abcdef"), 1<<20)
	go func() {
		_, _ = io.Copy(peer, peer) // an echo
		_ = peer.CloseWrite()
	}()
	sent := make(chan error, 1)
	go func() {
		n, err := s.Write(want)
		if err == nil && n != len(want) {
			err = io.ErrShortWrite
		}
		sent <- errors.Join(err, CloseWrite(s))
	}()
	got, err := io.ReadAll(s)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes of %d came back, %v", len(got), len(want), err)
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
}

// TestSocketErrors expects the errors of package net.
func TestSocketErrors(t *testing.T) {
	t.Parallel()
	past := time.Unix(1, 0)
	for name, test := range map[string]struct {
		do   func(s *Socket, peer *net.TCPConn) error
		want error
	}{
		"a read after its deadline": {func(s *Socket, _ *net.TCPConn) error {
			_ = s.SetReadDeadline(past)
			_, err := s.Read(make([]byte, 1))
			return err
		}, os.ErrDeadlineExceeded},
		"a write after its deadline": {func(s *Socket, _ *net.TCPConn) error {
			_ = s.SetWriteDeadline(past)
			_, err := s.Write([]byte("x"))
			return err
		}, os.ErrDeadlineExceeded},
		"a read that is interrupted by a close": {func(s *Socket, _ *net.TCPConn) error {
			time.AfterFunc(10*time.Millisecond, func() { s.Close() })
			_, err := s.Read(make([]byte, 1))
			return err
		}, net.ErrClosed},
		"a write when nobody reads any more": {func(s *Socket, peer *net.TCPConn) error {
			go func() {
				_, _ = peer.Read(make([]byte, 1)) // some of it is on its way
				_ = s.SetWriteDeadline(past)
			}()
			n, err := s.Write(make([]byte, 64<<20))
			if n == 0 {
				return errors.New("it does not say how much was written")
			}
			return err
		}, os.ErrDeadlineExceeded},
		"a read after the end": {func(s *Socket, peer *net.TCPConn) error {
			_ = peer.Close()
			_, err := s.Read(make([]byte, 1))
			return err
		}, io.EOF},
		"a read after a reset": {func(s *Socket, peer *net.TCPConn) error {
			_ = peer.SetLinger(0)
			_ = peer.Close()
			_, err := s.Read(make([]byte, 1))
			if failed, ok := errors.AsType[*net.OpError](err); !ok || failed.Op != "read" || failed.Addr == nil {
				return errors.New("it does not say what failed")
			}
			return err
		}, syscall.ECONNRESET},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, peer := newSocketPair(t)
			if err := test.do(s, peer); !errors.Is(err, test.want) {
				t.Errorf("error %v, want %v", err, test.want)
			}
		})
	}
}

// TestReadMore reads what has come, and does not wait.
func TestReadMore(t *testing.T) {
	t.Parallel()
	s, peer := newSocketPair(t)
	if _, err := peer.Write(make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 3000)
	if _, err := s.Read(b[:1]); err != nil {
		t.Fatal(err)
	}
	if n := s.ReadMore(s, b, 1); n != 1000 {
		t.Errorf("there are %d bytes, want 1000", n)
	}
	s.got = 10_000 // as if more had been decrypted than was returned
	if n := s.ReadMore(s, b, 7); n != 7 {
		t.Errorf("there are %d bytes, want the 7 that were", n)
	}
	if n := (*Socket)(nil).ReadMore(nil, b, 8); n != 8 {
		t.Errorf("without a socket there are %d", n)
	}
}

// TestAlive tells apart a connection on which nothing has come from others.
func TestAlive(t *testing.T) {
	t.Parallel()
	s, peer := newSocketPair(t)
	if !s.Alive(s) {
		t.Error("a quiet connection is not alive")
	}
	if _, err := peer.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if !s.Alive(s) {
		t.Error("a connection of which all was read is not alive")
	}
	if err := peer.Close(); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(time.Minute); s.Alive(s); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("a connection that has ended is alive")
		}
	}
}

// TestWaitReadable waits for what comes, and leaves it there.
func TestWaitReadable(t *testing.T) {
	t.Parallel()
	s, peer := newSocketPair(t)
	done := make(chan error)
	wait := func() { done <- WaitReadable(Wrapper{s}) }
	go wait()
	if _, err := peer.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	b := make([]byte, 2)
	if n, err := s.Read(b); n != 1 || err != nil {
		t.Errorf("%d bytes were there, %v", n, err)
	}
	_ = s.SetReadDeadline(time.Unix(1, 0))
	go wait()
	if err := <-done; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("after the deadline: %v", err)
	}
	_ = s.SetReadDeadline(time.Time{})
	go wait()
	peer.Close()
	if err := <-done; err != nil {
		t.Errorf("at the end: %v", err)
	}
}

// nameless is a connection of which the system does not tell the addresses.
type nameless struct{ *net.TCPConn }

func (nameless) LocalAddr() net.Addr { return nil }

func (nameless) RemoteAddr() net.Addr { return nil }

// TestSocketWithoutAddress reads from a connection that was reset before the system could tell
// its address.
func TestSocketWithoutAddress(t *testing.T) {
	t.Parallel()
	s, peer := newSocketPair(t)
	s, err := NewSocket(nameless{s.Conn.(*net.TCPConn)})
	if err != nil {
		t.Fatal(err)
	}
	_ = peer.SetLinger(0) // a reset
	peer.Close()
	if _, err := s.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) || err.Error() == "" {
		t.Errorf("read: %v", err)
	}
}
