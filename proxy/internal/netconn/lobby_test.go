//go:build unix

package netconn

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"
)

// accepted is what a listener's Accept returns.
type accepted struct {
	conn net.Conn
	err  error
}

// scriptedListener accepts what is sent to it.
type scriptedListener struct {
	net.Listener
	next chan accepted
}

// Accept implements [net.Listener].
func (l scriptedListener) Accept() (net.Conn, error) {
	a, ok := <-l.next
	if !ok {
		return nil, net.ErrClosed
	}
	return a.conn, a.err
}

// Close implements [net.Listener].
func (l scriptedListener) Close() error {
	close(l.next)
	return nil
}

// TestLobby has connections come on which nothing comes, one on which something does, and
// errors. Only that one is accepted, and all others end with the lobby.
func TestLobby(t *testing.T) {
	t.Parallel()
	next := make(chan accepted)
	lobby := NewLobby(scriptedListener{next: next}, time.Hour)
	come := func() (client net.Conn) {
		t.Helper()
		client, conn := socketPair(t)
		next <- accepted{conn: NewStallConn(conn, time.Minute, Head{}, func() {})}
		return client
	}
	silent := []net.Conn{come(), come()}
	next <- accepted{err: &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", syscall.EMFILE)}}
	speaking := come()
	if _, err := speaking.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	c, err := lobby.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if c.RemoteAddr().String() != speaking.LocalAddr().String() {
		t.Error("a silent one was accepted")
	}
	p := make([]byte, 2)
	if n, err := c.Read(p); n != 1 || err != nil || p[0] != 'x' {
		t.Errorf("%q, %v", p[:n], err)
	}
	if err := errors.Join(lobby.Close(), lobby.Close()); err != nil {
		t.Error(err)
	}
	lobby.Wait()
	if _, err := lobby.Accept(); err != net.ErrClosed {
		t.Errorf("after the end: %v", err)
	}
	for _, client := range silent {
		if _, err := client.Read(p); err != io.EOF {
			t.Errorf("a silent one: %v", err)
		}
	}
	if _, err := speaking.Write([]byte("y")); err != nil {
		t.Error(err)
	}
	if n, err := c.Read(p); n != 1 || err != nil {
		t.Errorf("the one that was accepted: %d bytes, %v", n, err)
	}
}

// TestLobbyPatience ends a connection on which nothing comes for too long, and one that is
// refused.
func TestLobbyPatience(t *testing.T) {
	t.Parallel()
	next := make(chan accepted)
	lobby := NewLobby(scriptedListener{next: next}, 10*time.Millisecond)
	silent, conn := socketPair(t)
	next <- accepted{conn: NewStallConn(conn, time.Minute, Head{}, func() {})}
	refused, conn := socketPair(t)
	c := NewStallConn(conn, time.Minute, Head{}, func() {})
	c.BeforeRead("", func() (string, error) { return "", io.EOF })
	next <- accepted{conn: c}
	for _, client := range []net.Conn{silent, refused} {
		if _, err := client.Read(make([]byte, 1)); err != io.EOF {
			t.Error(err)
		}
	}
	if err := lobby.Close(); err != nil {
		t.Error(err)
	}
	lobby.Wait()
}

// TestLobbyFails ends with its listener.
func TestLobbyFails(t *testing.T) {
	t.Parallel()
	next := make(chan accepted)
	lobby := NewLobby(scriptedListener{next: next}, time.Hour)
	broken := errors.New("broken")
	next <- accepted{err: broken}
	if _, err := lobby.Accept(); err != broken {
		t.Error(err)
	}
	if err := lobby.Close(); err != nil {
		t.Error(err)
	}
	lobby.Wait()
}
