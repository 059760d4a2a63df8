package netconn

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/agentproxy/agentproxy/internal/contain"
	"github.com/agentproxy/agentproxy/proxy/internal/track"
)

// StallConn is a client's connection. It holds a place among the connections of
// all clients until it is closed, and writing to it fails when the client reads
// nothing for a time.
type StallConn struct {
	Wrapper           // around what the kernel can copy from and to
	socket   net.Conn // the same, for what the proxy reads and writes
	giveBack func()   // its place
	stall    time.Duration
	head     Head
	read     atomic.Int64 // of a client that is not known; -1: the client is known
	turn     track.Turn   // to read and parse something, of a client that is not known
	client   string       // its name, for turns

	beforeRead func() (string, error)   // nil: nothing is to be done
	firstRead  func(first []byte) error // nil: nothing is to be done
	once       sync.Once
	begun      sync.Once
	refused    error // what one of them returned

	mu       sync.Mutex
	rest     time.Duration // within which the rest of an answered request is to come; 0: there is none
	deadline time.Time     // for writing, as its owner has set it
	inForce  time.Time     // the one that writing fails at
	closed   bool
	label    string // that it was last used with
	leave    func() // gives back its place among the label's; nil: it has none
	onClose  func() // nil: nothing is to be done
}

// Head bounds what clients send before they are known, that is before [StallConn.Join].
// The zero value does not.
type Head struct {
	// Take takes n bytes, and reports whether there were as many left; a negative n gives
	// them back. It is not called for the first FreeHead bytes of a connection.
	Take func(n int64) bool
	// Refuse answers a client for which there are none. It calls answered before it waits.
	Refuse func(conn net.Conn, answered func())
	// Turns are those by which clients are read from. nil: there are none.
	Turns *track.Turns
	// Panicked is told of a panic while it is read from a client, which ends its connection. nil:
	// nobody is.
	Panicked func(*contain.PanicError)
}

// FreeHead is how much clients may always send before they are known, in bytes. The
// head of a well-behaved one is smaller.
const FreeHead = 4 << 10

// HeadCost returns the memory, in bytes, that a part of a head takes when it is read: its
// fields are kept in a map.
func HeadCost(p []byte) int64 { return int64(len(p) + 100*bytes.Count(p, []byte{'\n'})) }

// NewStallConn returns a wrapper of conn. Writing fails when the client reads
// nothing for stall; reading fails when there is no room for its head; Close calls
// giveBack, which may be called more than once.
func NewStallConn(conn net.Conn, stall time.Duration, head Head, giveBack func()) *StallConn {
	c := &StallConn{Wrapper: Wrapper{conn}, socket: quick(conn), stall: stall, head: head, giveBack: giveBack}
	if head.Take == nil {
		c.read.Store(-1)
	}
	return c
}

// Read implements [net.Conn].
func (c *StallConn) Read(p []byte) (_ int, err error) {
	defer contain.Recover(c.head.Panicked, &err) // net/http reads ahead on a goroutine that it would end the program on
	if err := c.prepare(); err != nil {
		return 0, err
	}
	if c.head.Turns != nil && c.read.Load() >= 0 {
		if err := c.awaitTurn(); err != nil {
			return 0, err
		}
	}
	n, err := c.socket.Read(p)
	if n > 0 && c.firstRead != nil {
		c.begun.Do(func() {
			c.refused = io.ErrUnexpectedEOF // in case of a panic
			c.refused = c.firstRead(p[:n])
		})
		if c.refused != nil {
			return 0, c.refused
		}
	}
	if c.read.Load() < 0 || n == 0 {
		return n, err
	}
	if !c.countHead(p[:n]) {
		c.head.Refuse(c.Conn, c.turn.End)
		return 0, io.EOF
	}
	return n, err
}

// countHead counts what has come, and reports whether there is room for it.
func (c *StallConn) countHead(p []byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	before := c.read.Load()
	return c.closed || before < 0 || c.takeHead(before, before+HeadCost(p))
}

// prepare does what is to be done before the first Read.
func (c *StallConn) prepare() error {
	if c.beforeRead == nil {
		return nil
	}
	c.once.Do(func() {
		c.beginTurn()
		c.refused = io.ErrUnexpectedEOF // in case of a panic
		c.client, c.refused = c.beforeRead()
	})
	return c.refused
}

// Await implements [Quiet], for the first Read.
func (c *StallConn) Await() (err error) {
	defer contain.Recover(c.head.Panicked, &err)
	if err := c.prepare(); err != nil {
		return err
	}
	c.turn.End()
	if err = WaitReadable(c.Conn); err == errors.ErrUnsupported {
		return nil
	}
	return err
}

// awaitTurn waits until something has come from a client that is not known, and then for its
// turn. The turn ends with the next Read or Write.
func (c *StallConn) awaitTurn() error {
	c.turn.End()
	switch err := WaitReadable(c.Conn); {
	case err == errors.ErrUnsupported: // it is not known how long the turn would be
		return nil
	case err != nil:
		return renamed(err, "read")
	}
	if !c.beginTurn() {
		c.head.Refuse(c.Conn, c.turn.End)
		return io.EOF
	}
	return nil
}

// longHead is how much of a head has been read, in bytes as [HeadCost] counts them, when it is a long
// one. The rest of it takes turns behind others.
const longHead = 8 << 10

// beginTurn takes a turn. It reports false if there is none for the rest of a long head.
func (c *StallConn) beginTurn() bool {
	if c.head.Turns == nil {
		return true
	}
	switch read := c.read.Load(); {
	case read < 0:
		return true
	case read < longHead:
		c.head.Turns.Begin(&c.turn, track.Key{Kind: track.Stranger, Name: c.client})
	case !c.head.Turns.BeginSlow(&c.turn, c.client):
		return c.read.Load() < 0
	}
	if c.read.Load() < 0 { // it is known, or gone, since it has waited
		c.turn.End()
	}
	return true
}

// EndTurn ends the turn of a client that is not known, if it has one: what follows takes long,
// and is bounded otherwise.
func (c *StallConn) EndTurn() { c.turn.End() }

// takeHead takes what is more than FreeHead in the step from before to after.
func (c *StallConn) takeHead(before, after int64) bool {
	if more := max(after, FreeHead) - max(before, FreeHead); more > 0 && !c.head.Take(more) {
		return false
	}
	c.read.Store(after)
	return true
}

// EndHead gives back what was taken for a request of a client that is still not known, when
// the request has been answered.
func (c *StallConn) EndHead() {
	c.mu.Lock()
	defer c.mu.Unlock()
	before := c.read.Load()
	if before < 0 {
		return
	}
	if more := before - FreeHead; more > 0 {
		c.head.Take(-more)
	}
	c.read.Store(0)
}

// giveHead gives back what was taken: the client is known, or gone.
func (c *StallConn) giveHead() {
	if taken := c.read.Swap(-1) - FreeHead; taken > 0 {
		c.head.Take(-taken)
	}
}

// Close implements [net.Conn].
func (c *StallConn) Close() error {
	err := c.Conn.Close()
	c.giveBack()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	c.giveHead()
	c.turn.End() // the last one: none begins any more
	if c.leave != nil {
		c.leave()
	}
	if c.onClose != nil {
		c.onClose()
	}
	return err
}

// GiveBack gives the connection's place back before it is closed.
func (c *StallConn) GiveBack() {
	c.turn.End() // or whoever answers the client would wait in it
	c.giveBack()
}

// OnClose has f be called when the connection is closed, or now if it is.
func (c *StallConn) OnClose(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		f()
		return
	}
	c.onClose = f
}

// BeforeRead has f be called by the first Read. Every Read fails with its error, if there is
// one. The client takes turns by address until f returns its name. It must be called before the
// connection is in use.
func (c *StallConn) BeforeRead(address string, f func() (name string, err error)) {
	c.client, c.beforeRead = address, f
}

// OnFirstRead has f be called with what comes first. If it returns an error, that Read and
// all that follow fail. It must be called before the connection is in use.
func (c *StallConn) OnFirstRead(f func(first []byte) error) { c.firstRead = f }

// Join exchanges the connection's place among those of a label, if it has one, for
// one of the most that label may take in labels. It reports whether one was free.
func (c *StallConn) Join(labels *track.Limiter, label string, most int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || c.leave != nil && c.label == label {
		return true
	}
	leave := labels.Take(label, most)
	if leave == nil {
		return false
	}
	if c.leave != nil {
		c.leave()
	}
	c.label, c.leave = label, leave
	c.giveHead()
	c.turn.End()
	return true
}

// Write implements [net.Conn]. The time begins anew whenever the client takes some
// of p, so that a stream lives on however slowly it is read.
func (c *StallConn) Write(p []byte) (n int, err error) {
	defer contain.Recover(c.head.Panicked, &err) // net/http writes frames of HTTP/2 on a goroutine of their own
	c.turn.End()
	for {
		c.renewDeadline(time.Now())
		written, err := c.socket.Write(p[n:])
		n += written
		if written == 0 || !errors.Is(err, os.ErrDeadlineExceeded) || c.overdue() {
			return n, err
		}
	}
}

// ReadFrom implements [io.ReaderFrom], so that the kernel may copy between two
// sockets. It has no time limit: a tunnel whose client does not read holds no memory
// of the proxy.
func (c *StallConn) ReadFrom(r io.Reader) (int64, error) {
	c.setDeadline(time.Time{})
	if to, ok := c.Conn.(io.ReaderFrom); ok {
		return to.ReadFrom(r)
	}
	return io.Copy(struct{ io.Writer }{c.Conn}, r)
}

// WriteTo implements [io.WriterTo], so that the kernel may copy.
func (c *StallConn) WriteTo(w io.Writer) (int64, error) { return io.Copy(w, c.Conn) }

// SetDeadline implements [net.Conn].
func (c *StallConn) SetDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deadline, c.inForce = t, t
	return c.Conn.SetDeadline(t)
}

// AwaitRest notes that nothing is to come but the rest of a request that has been answered,
// which net/http would wait for as long as the client says nothing. Reading fails after most.
func (c *StallConn) AwaitRest(most time.Duration) {
	c.mu.Lock()
	c.rest = most
	c.mu.Unlock()
	_ = c.SetReadDeadline(time.Time{})
}

// SetReadDeadline implements [net.Conn].
func (c *StallConn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	rest := c.rest
	c.mu.Unlock()
	if t.IsZero() && rest > 0 {
		t = time.Now().Add(rest)
	}
	return c.Conn.SetReadDeadline(t)
}

// SetWriteDeadline implements [net.Conn].
func (c *StallConn) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deadline, c.inForce = t, t
	return c.Conn.SetWriteDeadline(t)
}

// renewDeadline makes writing fail after the stall's time, or up to a sixteenth
// less: setting a deadline costs more than many a write.
func (c *StallConn) renewDeadline(now time.Time) {
	c.mu.Lock()
	left := c.inForce.Sub(now)
	fresh := left > c.stall-c.stall/16 && left <= c.stall
	c.mu.Unlock()
	if !fresh {
		c.setDeadline(now.Add(c.stall))
	}
}

// setDeadline makes writing fail at t, or at the owner's deadline if that is
// earlier.
func (c *StallConn) setDeadline(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t.IsZero() || !c.deadline.IsZero() && c.deadline.Before(t) {
		t = c.deadline
	}
	c.inForce = t
	_ = c.Conn.SetWriteDeadline(t) // a connection without deadlines fails on its own
}

// overdue reports whether the owner's deadline has passed.
func (c *StallConn) overdue() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.deadline.IsZero() && !time.Now().Before(c.deadline)
}
