package h1server

import (
	"crypto/tls"
	"io"
	"net"
	"sync"
	"time"

	"github.com/agentproxy/agentproxy/internal/contain"
	"github.com/agentproxy/agentproxy/proxy/internal/netconn"
)

// Heads bounds the heads of requests that are in the making on the connections that are
// handed over. A Server itself holds no head that is larger than its buffer.
type Heads struct {
	// Take takes n bytes for a head on conn, as it was given to [Server.Serve], and
	// reports whether there were as many left. A negative n gives them back.
	Take func(conn net.Conn, n int64) bool
	// Refusal returns the response to a request over HTTP/1.1 for whose head there is no
	// room. Over HTTP/2 the connection is closed.
	Refusal func() []byte
	// Panicked is told of a panic while heads are counted, which ends the connection.
	Panicked func(*contain.PanicError)
	// Block is what a field block of HTTP/2 takes until it has ended, in bytes, if it
	// is more than a frame.
	Block int64
}

// HeadConn is a connection that was handed over. It counts what its client sends while no
// request of HTTP/1.1 is being served, or a field block of HTTP/2 has not ended.
type HeadConn struct {
	*tls.Conn
	heads  *Heads
	linger Linger
	below  net.Conn // as it was given to Serve

	mu      sync.Mutex
	frames  *frames // nil: HTTP/1.1 is spoken
	read    int64   // since the last request
	taken   int64
	serving bool
	left    bool // something of the last request's body may be unread
	over    bool // nothing more is to be counted
}

// BeginRequest notes that a request is being served, whose head is somebody else's now.
func (c *HeadConn) BeginRequest() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.frames == nil {
		c.serving, c.read = true, 0
		c.give()
	}
}

// EndRequest notes that the request has been served. left says that something of its body
// may be unread, so that no other follows.
func (c *HeadConn) EndRequest(left bool) {
	c.mu.Lock()
	c.serving, c.left, c.over = false, left, c.over || left
	c.mu.Unlock()
	if left {
		_ = c.SetReadDeadline(time.Time{})
	}
}

// noMore notes that no other head comes.
func (c *HeadConn) noMore() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over = true
	c.give()
}

// SetReadDeadline implements [net.Conn]. Without a deadline, net/http would wait for the rest of
// a request that has been answered for as long as the client says nothing.
func (c *HeadConn) SetReadDeadline(t time.Time) error {
	if t.IsZero() && c.bodyLeft() {
		t = time.Now().Add(c.linger.Pause)
	}
	return c.Conn.SetReadDeadline(t)
}

// bodyLeft reports whether something of the last request's body may be unread.
func (c *HeadConn) bodyLeft() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.left
}

// Close implements [net.Conn].
func (c *HeadConn) Close() error {
	defer c.noMore()
	return c.Conn.Close()
}

// Read implements [net.Conn].
func (c *HeadConn) Read(p []byte) (_ int, err error) {
	defer contain.Recover(c.heads.Panicked, &err) // on a goroutine of net/http it would end the program
	n, err := c.Conn.Read(p)
	if n == 0 || c.count(p[:n]) {
		return n, err
	}
	if c.frames == nil {
		if _, err := c.Write(c.heads.Refusal()); err == nil {
			c.linger.closeWrite(c.Conn)
		}
	}
	return 0, io.EOF // which net/http says nothing about
}

// count counts what has come, and reports whether there is room for it.
func (c *HeadConn) count(p []byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		return true
	}
	if c.frames != nil {
		open, ok := c.frames.walk(p)
		if !ok {
			return false
		}
		if !open {
			c.give()
			return true
		}
		return c.taken > 0 || c.take(c.heads.Block)
	}
	if c.serving {
		return true
	}
	before := c.read
	c.read += netconn.HeadCost(p)
	more := max(c.read, netconn.FreeHead) - max(before, netconn.FreeHead)
	return more == 0 || c.take(more)
}

func (c *HeadConn) take(n int64) bool {
	if !c.heads.Take(c.below, n) {
		c.over = true
		c.give()
		return false
	}
	c.taken += n
	return true
}

func (c *HeadConn) give() {
	if c.taken > 0 {
		c.heads.Take(c.below, -c.taken)
		c.taken = 0
	}
}

// frames follows the frames of HTTP/2 (RFC 9113, section 4.1) in what a client sends. It
// looks at nothing but where a field block ends.
type frames struct {
	preface string // what is left of it
	skip    int    // bytes before the next frame
	header  [9]byte
	have    int // of header
	block   bool
	last    bool // the frame that is skipped is the last of the block
}

// newFrames returns frames of a client that sends its preface first (section 3.4).
func newFrames() *frames { return &frames{preface: "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"} }

// walk follows what has come, and reports whether a field block has begun, is not in one
// frame, and has not ended. It is not ok if another protocol is spoken.
func (f *frames) walk(p []byte) (open, ok bool) {
	const headers, continuation, endHeaders = 1, 9, 4
	if n := min(len(f.preface), len(p)); n > 0 {
		if string(p[:n]) != f.preface[:n] {
			return false, false
		}
		f.preface, p = f.preface[n:], p[n:]
	}
	for {
		n := min(f.skip, len(p))
		f.skip -= n
		p = p[n:]
		if f.skip > 0 {
			return f.block, true
		}
		if f.last {
			f.block, f.last = false, false
		}
		n = copy(f.header[f.have:], p)
		f.have += n
		p = p[n:]
		if f.have < len(f.header) {
			return f.block, true
		}
		f.have = 0
		f.skip = int(f.header[0])<<16 | int(f.header[1])<<8 | int(f.header[2])
		if kind := f.header[3]; kind == headers || kind == continuation {
			ends := f.header[4]&endHeaders != 0
			f.last = ends && f.block
			f.block = f.block || !ends
		}
	}
}

// h2Conn is a connection over HTTP/2. It has no method ConnectionState, so that net/http
// reads from it, and not from the connection of TLS below.
type h2Conn struct {
	net.Conn
	heads *HeadConn
	tls   tls.ConnectionState
}

// NetConn returns the connection below TLS.
func (c *h2Conn) NetConn() net.Conn { return c.heads.NetConn() }

// TLS returns the state of TLS.
func (c *h2Conn) TLS() tls.ConnectionState { return c.tls }

// CloseWrite closes the sending side.
func (c *h2Conn) CloseWrite() error { return c.heads.CloseWrite() }

// HeadsOf returns what counts heads on c, which is what [Config].ConnContext is given. It
// is nil if c was not handed over.
func HeadsOf(c net.Conn) *HeadConn {
	switch c := c.(type) {
	case *h2Conn:
		return c.heads
	case *lingeringConn:
		return c.heads
	}
	return nil
}

// WriterOf returns what c writes to as it is, which is c unless it was handed over.
func WriterOf(c net.Conn) io.Writer {
	if c, ok := c.(*lingeringConn); ok {
		return c.conn
	}
	return c
}

// StateOf returns the state of TLS of c, which is what [Config].ConnContext is given. It is nil
// if c was not handed over, for then each request has it.
func StateOf(c net.Conn) *tls.ConnectionState {
	switch c := c.(type) {
	case *h2Conn:
		return &c.tls
	case *lingeringConn:
		return stateOf(c.conn)
	}
	return nil
}
