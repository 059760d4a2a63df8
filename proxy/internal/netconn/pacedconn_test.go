package netconn

import (
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/agentproxy/agentproxy/proxy/internal/track"
)

// TestPacedConn looks at the turns of a connection on which little comes, and then much.
func TestPacedConn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, testPacedConn) // there is much for a while only, which a busy machine must not use up
}

func testPacedConn(t *testing.T) {
	near, far := net.Pipe()
	defer far.Close()
	turns := track.NewTurns(1)
	c := NewPacedConn(near, turns, track.Key{Kind: track.Label, Name: "a"})
	defer c.Close()
	go func() {
		for range 4 {
			_, _ = far.Write([]byte("x"))
		}
		_, _ = far.Read(make([]byte, 1))
		_, _ = far.Write([]byte("x"))
		far.Close()
	}()
	read := func() {
		t.Helper()
		if _, err := c.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
	}
	taken := func(when string, want int) {
		t.Helper()
		if n := turns.Taken(); n != want {
			t.Errorf("%d turns %s, want %d", n, when, want)
		}
	}
	var request track.Turn
	read()
	c.BeginRequest(&request, false)
	taken("when little has come", 0)
	if request.EndFunc() != nil {
		t.Error("there is something to end")
	}
	c.BeginTurn()
	taken("for what is said to be much", 1)
	read()
	taken("after the next read", 0)
	c.Pace.Spend(1<<30, time.Now().Add(time.Hour)) // and for an hour
	read()
	taken("when much has come", 1)
	c.BeginRequest(&request, true)
	taken("for a request that is alone", 1) // or it would wait for its own turn
	c.EndTurn()
	taken("before it is sent on", 0)
	c.BeginRequest(&request, false)
	taken("for a request among others", 1)
	request.EndFunc()()
	taken("after the request", 0)
	read()
	EndTurn(c)
	taken("when others are waited for", 0)
	EndTurn(near) // which has none
	c.BeginTurn()
	if _, err := c.Write([]byte("x")); err != nil {
		t.Error(err)
	}
	taken("after a write", 0)
	read()
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("it has not ended")
	}
	taken("at the end", 0)
	c.BeginTurn()
	c.Close()
	taken("when it is closed", 0)
}

// TestPacedConnSendsItsShare reads much from the connection of a label while another works.
func TestPacedConnSendsItsShare(t *testing.T) {
	t.Parallel()
	for name, kind := range map[string]track.Kind{"of a label": track.Label, "of a server": track.Server} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				turns := track.NewTurns(1)
				turns.NoteLight("light", time.Now())
				near, far := net.Pipe()
				c := NewPacedConn(near, turns, track.Key{Kind: kind, Name: "a"})
				defer c.Close()
				go func() {
					defer far.Close()
					for range 1 << 10 {
						_, _ = far.Write(make([]byte, 1<<20))
					}
				}()
				begun := time.Now()
				var looked sync.WaitGroup
				looked.Go(func() {
					time.Sleep(time.Second / 2)
					if n := turns.Taken(); n > 0 && kind == track.Label {
						t.Error("it waits in a turn")
					}
				})
				defer looked.Wait()
				if n, err := io.Copy(io.Discard, struct{ io.Reader }{c}); n != 1<<30 || err != nil {
					t.Fatal(n, err)
				}
				if waits := time.Since(begun) > time.Second; waits != (kind == track.Label) {
					t.Errorf("it took %s", time.Since(begun))
				}
			})
		})
	}
}

// TestPacedConnsSendTheirShare reads from many connections of a label, on each of which little more comes
// than is usual. All of it counts.
func TestPacedConnsSendTheirShare(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		turns := track.NewTurns(1)
		turns.NoteLight("light", time.Now())
		const conns, each = 2048, 80 << 10
		begun := time.Now()
		var all sync.WaitGroup
		for range conns {
			near, far := net.Pipe()
			c := NewPacedConn(near, turns, track.Key{Kind: track.Label, Name: "a"})
			all.Go(func() {
				_, _ = far.Write(make([]byte, each))
				far.Close()
			})
			if n, err := io.CopyBuffer(io.Discard, struct{ io.Reader }{c}, make([]byte, 16<<10)); n != each || err != nil {
				t.Fatal(n, err)
			}
			c.Close()
		}
		all.Wait()
		// 160 MiB, 80 in a second.
		if took := time.Since(begun); took < 3*time.Second/2 {
			t.Errorf("it took %s", took)
		}
	})
}

// TestPacedConnClosedWhileItWaits has a connection closed that waits for its share. It takes no turn then.
func TestPacedConnClosedWhileItWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		turns := track.NewTurns(1)
		turns.NoteLight("light", time.Now())
		near, far := net.Pipe()
		defer far.Close()
		c := NewPacedConn(near, turns, track.Key{Kind: track.Label, Name: "a"})
		go func() { _, _ = far.Write(make([]byte, 1<<20)) }()
		turns.AwaitShare("a", 64<<20)
		var read sync.WaitGroup
		read.Go(func() { _, _ = c.Read(make([]byte, 1<<20)) })
		synctest.Wait()
		c.Close()
		read.Wait()
		if n := turns.Taken(); n > 0 {
			t.Error("it has a turn")
		}
	})
}

// TestKeyForBytes has bytes shared that are many enough to take most of the time of a turn.
func TestKeyForBytes(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		of   track.Kind
		n    int
		want track.Kind
	}{
		{track.Label, bulk - 1, track.Label},
		{track.Label, bulk, track.Shared},
		{track.Server, bulk, track.Server},
	} {
		c := NewPacedConn(nil, nil, track.Key{Kind: test.of, Name: "a"})
		if got, want := c.keyFor(test.n), (track.Key{Kind: test.want, Name: "a"}); got != want {
			t.Errorf("%d bytes: %v, want %v", test.n, got, want)
		}
	}
}

// TestPacedConnIsLight reads a little from the connection of a label. Another label, which sends much,
// waits for its share from then on.
func TestPacedConnIsLight(t *testing.T) {
	t.Parallel()
	for name, kind := range map[string]track.Kind{"of a label": track.Label, "of a server": track.Server} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				turns := track.NewTurns(1)
				near, far := net.Pipe()
				defer far.Close()
				c := NewPacedConn(near, turns, track.Key{Kind: kind, Name: "light"})
				defer c.Close()
				go func() { _, _ = far.Write([]byte("x")) }()
				if n, err := c.Read(make([]byte, 1)); n != 1 || err != nil {
					t.Fatal(n, err)
				}
				begun := time.Now()
				for range 1 << 10 {
					turns.AwaitShare("busy", 1<<20)
				}
				if waits := time.Since(begun) > 0; waits != (kind == track.Label) {
					t.Errorf("it waits: %t", waits)
				}
			})
		})
	}
}
