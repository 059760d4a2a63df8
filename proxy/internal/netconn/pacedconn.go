package netconn

import (
	"net"
	"sync/atomic"
	"time"

	"github.com/agentproxy/agentproxy/proxy/internal/track"
)

// requestCost is what a request takes until it is sent on, in bytes that take as long to be
// decrypted and copied. Reads cost nothing but their bytes: a client that reads a download sends
// many updates of its window, and would wait for the turns in which the download is read.
const requestCost = 8 << 10

// bulk is how many bytes a read has at least whose work is bounded by the share of bytes. Smaller reads
// take longer than their bytes say.
const bulk = 4 << 10

// PacedConn is a connection that has its work done in turns while there is much of it: what has
// come is decrypted and parsed in a turn, which ends with the next Read or Write. Over HTTP/2 others
// write than who reads, so that it may end before that: with an update of a window, for one.
type PacedConn struct {
	Wrapper
	turns *track.Turns
	key   track.Key
	turn  track.Turn // of the goroutine that reads

	unshared int       // bytes that have come since the label waited for its share
	unnoted  time.Time // when it may be noted next that the label has little to do
	closed   atomic.Bool

	// Pace says whether there is much.
	Pace track.Pace
}

// NewPacedConn returns conn, which takes turns of key.
func NewPacedConn(conn net.Conn, turns *track.Turns, key track.Key) *PacedConn {
	return &PacedConn{Wrapper: Wrapper{quick(conn)}, turns: turns, key: key}
}

// Read implements [net.Conn].
func (c *PacedConn) Read(p []byte) (int, error) {
	c.turn.End()
	n, err := c.Conn.Read(p)
	if n == 0 && err != ErrNothingYet {
		return n, err
	}
	now := time.Now()
	much := c.Pace.Spend(n, now)
	if c.key.Kind == track.Label {
		c.note(n, much, now)
	}
	if much {
		c.turns.Begin(&c.turn, c.keyFor(n))
		if c.closed.Load() { // since it has waited
			c.turn.End()
		}
	}
	return n, err
}

// keyFor returns the key for the work on n bytes.
func (c *PacedConn) keyFor(n int) track.Key {
	if c.key.Kind == track.Label && n >= bulk {
		return track.Key{Kind: track.Shared, Name: c.key.Name}
	}
	return c.key
}

// note notes that n bytes of a label have come. If that is much the label waits until it is within its
// share.
func (c *PacedConn) note(n int, much bool, now time.Time) {
	c.unshared += n
	switch {
	case much:
		c.turns.AwaitShare(c.key.Name, c.unshared)
		c.unshared = 0
	case now.After(c.unnoted) && !c.turns.NoteLight(c.key.Name, now):
		c.unnoted = now.Add(10 * time.Millisecond) // or each Read would take the mutex
	}
}

// Write implements [net.Conn]. It ends the turn whoever has it, for a write may wait.
func (c *PacedConn) Write(p []byte) (int, error) {
	c.turn.End()
	return c.Conn.Write(p)
}

// Close implements [net.Conn].
func (c *PacedConn) Close() error {
	c.closed.Store(true)
	err := c.Conn.Close()
	c.turn.End()
	return err
}

// BeginTurn takes a turn for what has come last, however little it is.
func (c *PacedConn) BeginTurn() {
	c.turn.End()
	c.turns.Begin(&c.turn, c.key)
}

// EndTurn ends the turn for what has come last: what follows waits for somebody.
func (c *PacedConn) EndTurn() { c.turn.End() }

// BeginRequest takes turn for a request that has come, if there is much to be done for the
// connection. alone says that no other is under way on it, as over HTTP/1.1: it goes on in the turn
// for what has come, until [PacedConn.EndTurn] or the next Read, which in net/http is that of another
// goroutine.
func (c *PacedConn) BeginRequest(turn *track.Turn, alone bool) {
	if c.Pace.Spend(requestCost, time.Now()) && !alone {
		c.turns.Begin(turn, c.key)
	}
}
