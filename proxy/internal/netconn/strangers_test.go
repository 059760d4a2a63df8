//go:build unix

package netconn

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/agentproxy/agentproxy/internal/contain"
	"github.com/agentproxy/agentproxy/proxy/internal/track"
)

// TestStrangersTakeTurns has a client that is not known have a turn while what it has sent is
// looked at, and none while it sends nothing, is written to, is known or is gone.
func TestStrangersTakeTurns(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(c *StallConn, client net.Conn){
		"the next read":  func(c *StallConn, _ net.Conn) { go func() { _, _ = c.Read(make([]byte, 1)) }() },
		"a write":        func(c *StallConn, _ net.Conn) { _, _ = c.Write([]byte("x")) },
		"being known":    func(c *StallConn, _ net.Conn) { c.Join(new(track.Limiter), "label", 1) },
		"closing":        func(c *StallConn, _ net.Conn) { c.Close() },
		"being refused":  func(c *StallConn, client net.Conn) { _, _ = client.Write(make([]byte, FreeHead)); _, _ = io.ReadAll(c) },
		"being no guest": func(c *StallConn, _ net.Conn) { c.GiveBack() },
		"its own end":    func(c *StallConn, _ net.Conn) { c.EndTurn() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			turns := track.NewTurns(1)
			client, conn := socketPair(t)
			c := NewStallConn(conn, time.Minute, Head{
				Take: func(int64) bool { return false },
				Refuse: func(_ net.Conn, answered func()) {
					if turns.Taken() != 1 {
						t.Error("it is refused without a turn")
					}
					answered()
				},
				Turns: turns,
			}, func() {})
			defer c.Close()
			c.BeforeRead("", func() (string, error) {
				if turns.Taken() != 1 {
					t.Error("the kernel is asked who it is without a turn")
				}
				return "", nil
			})
			read := make(chan struct{})
			go func() {
				defer close(read)
				if n, err := c.Read(make([]byte, 10)); n != 1 || err != nil {
					t.Errorf("%d bytes, %v", n, err)
				}
			}()
			var other track.Turn // which it gets only if the silent one has none
			turns.Begin(&other, track.Key{})
			other.End()
			if _, err := client.Write([]byte("x")); err != nil {
				t.Fatal(err)
			}
			<-read
			if turns.Taken() != 1 {
				t.Error("what came is looked at without a turn")
			}
			end(c, client)
			for deadline := time.Now().Add(time.Minute); turns.Taken() != 0; time.Sleep(time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatal("the turn does not end")
				}
			}
		})
	}
}

// TestLongHeadsRefused has no turn left for those that send long heads. A client that is not known
// gets turns for the pieces of a short one, and is refused when it sends more.
func TestLongHeadsRefused(t *testing.T) {
	t.Parallel()
	client, conn := socketPair(t)
	refused := false
	c := NewStallConn(conn, time.Minute, Head{
		Take:   func(int64) bool { return true },
		Refuse: func(net.Conn, func()) { refused = true },
		Turns:  track.NewTurns(1),
	}, func() {})
	defer c.Close()
	send := func(n int) (int, error) {
		t.Helper()
		if _, err := client.Write(make([]byte, n)); err != nil {
			t.Fatal(err)
		}
		return io.ReadFull(c, make([]byte, n))
	}
	for range 3 {
		for _, size := range []int{1, 1, longHead - 2} {
			if n, err := send(size); n != size || err != nil || refused {
				t.Errorf("a piece of %d bytes: %d, %v, refused: %t", size, n, err, refused)
			}
		}
		c.EndHead() // it was answered, and sends the head of another request
	}
	if n, err := send(longHead); n != longHead || err != nil {
		t.Errorf("%d bytes, %v", n, err)
	}
	c.EndTurn()
	c.head.Turns = track.NewTurns(-1) // of which none is ever free
	if n, err := send(1); n != 0 || err != io.EOF || !refused {
		t.Errorf("more: %d bytes, %v, refused: %t", n, err, refused)
	}
}

// TestKnownIsNotRefused has a client become known, or leave, while more of its head is waited for,
// and no turn be left for those that are not known.
func TestKnownIsNotRefused(t *testing.T) {
	t.Parallel()
	client, conn := socketPair(t)
	c := NewStallConn(conn, time.Minute, Head{
		Take:   func(int64) bool { return true },
		Refuse: func(net.Conn, func()) { t.Error("it is refused") },
		Turns:  track.NewTurns(1),
	}, func() {})
	defer c.Close()
	if _, err := client.Write(make([]byte, longHead)); err != nil {
		t.Fatal(err)
	}
	if n, err := io.ReadFull(c, make([]byte, longHead)); err != nil {
		t.Fatal(n, err)
	}
	c.EndTurn()
	c.Join(new(track.Limiter), "label", 1)
	c.head.Turns = track.NewTurns(-1)
	if !c.beginTurn() { // as a Read does that has waited since before
		t.Error("no turn is needed, and none is left")
	}
}

// slowlyClosedConn is a connection that is open for some time after Close.
type slowlyClosedConn struct{ Wrapper }

// Close implements [net.Conn].
func (slowlyClosedConn) Close() error { return nil }

// TestTurnEndsWithConnection closes the connection of a client that is not known while something
// is read from it, and while it waits for a turn to be asked who it is.
func TestTurnEndsWithConnection(t *testing.T) {
	t.Parallel()
	t.Run("reading", func(t *testing.T) {
		t.Parallel()
		turns := track.NewTurns(1)
		client, conn := socketPair(t)
		var c *StallConn
		c = NewStallConn(slowlyClosedConn{Wrapper{conn}}, time.Minute, Head{Take: func(int64) bool { return true }, Turns: turns}, func() {
			if _, err := client.Write([]byte("x")); err != nil {
				t.Error(err)
			}
			if n, err := c.Read(make([]byte, 1)); n != 1 || err != nil {
				t.Errorf("%d bytes, %v", n, err)
			}
		})
		c.Close()
		conn.Close()
		if n := turns.Taken(); n != 0 {
			t.Errorf("%d turns are taken after the end", n)
		}
	})
	t.Run("waiting", func(t *testing.T) {
		t.Parallel()
		turns := track.NewTurns(1)
		_, conn := socketPair(t)
		c := NewStallConn(conn, time.Minute, Head{Take: func(int64) bool { return true }, Turns: turns}, func() {})
		c.BeforeRead("", func() (string, error) { return "", nil })
		// The turn begins when the connection is closed already.
		c.Close()
		if n, err := c.Read(make([]byte, 1)); n != 0 || err == nil {
			t.Errorf("%d bytes, %v", n, err)
		}
		if n := turns.Taken(); n != 0 {
			t.Errorf("%d turns are taken after the end", n)
		}
	})
}

// TestKnownTakesNoTurn reads from a client that is known.
func TestKnownTakesNoTurn(t *testing.T) {
	t.Parallel()
	turns := track.NewTurns(1)
	client, conn := socketPair(t)
	c := NewStallConn(conn, time.Minute, Head{Take: func(int64) bool { return true }, Turns: turns}, func() {})
	defer c.Close()
	c.Join(new(track.Limiter), "label", 1)
	if _, err := client.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if n, err := c.Read(make([]byte, 1)); n != 1 || err != nil || turns.Taken() != 0 {
		t.Errorf("%d bytes, %v, %d turns", n, err, turns.Taken())
	}
}

// socketPair returns the ends of a connection.
func socketPair(t *testing.T) (client, server net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if client, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	if server, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	return client, server
}

// writesConn counts writes.
type writesConn struct {
	Wrapper
	writes int
}

// Write implements [net.Conn].
func (c *writesConn) Write(p []byte) (int, error) {
	c.writes++
	return c.Conn.Write(p)
}

// TestAnswer answers in one piece, and the client gets it although it goes on sending.
func TestAnswer(t *testing.T) {
	t.Parallel()
	client, server := socketPair(t)
	if _, err := client.Write(make([]byte, maxUnread)); err != nil {
		t.Fatal(err)
	}
	counted, answered, done := &writesConn{Wrapper: Wrapper{server}}, false, make(chan struct{})
	go func() {
		defer close(done)
		Answer(counted, []byte("no"), func() { answered = true })
		server.Close()
	}()
	got, err := io.ReadAll(client)
	<-done
	if string(got) != "no" || err != nil || counted.writes != 1 || !answered {
		t.Errorf("%q, %v in %d writes, %t", got, err, counted.writes, answered)
	}
}

// TestStrangerPanics has the program make a mistake while it reads from a client that is not
// known. That Read fails, and others do if the client is not known yet.
func TestStrangerPanics(t *testing.T) {
	t.Parallel()
	for name, breaks := range map[string]func(c *StallConn){
		"who it is": func(c *StallConn) { c.BeforeRead("", func() (string, error) { panic("no name") }) },
		"the first": func(c *StallConn) { c.OnFirstRead(func([]byte) error { panic("no first") }) },
		"its head":  func(c *StallConn) { c.head.Take = func(int64) bool { panic("no head") } },
	} {
		told := 0
		client, conn := socketPair(t)
		c := NewStallConn(conn, time.Minute, Head{Take: func(int64) bool { return true }, Panicked: func(*contain.PanicError) { told++ }}, func() {})
		breaks(c)
		if _, err := client.Write(make([]byte, 2*FreeHead)); err != nil {
			t.Fatal(err)
		}
		if err := c.Await(); err == nil && name == "who it is" {
			t.Errorf("%s: awaited", name)
		}
		for range map[bool]int{true: 1, false: 2}[name == "its head"] {
			if n, err := c.Read(make([]byte, FreeHead+1)); n != 0 || err == nil {
				t.Errorf("%s: %d bytes, %v", name, n, err)
			}
		}
		if told < 1 {
			t.Errorf("%s: told %d times", name, told)
		}
		c.Close()
	}
}
