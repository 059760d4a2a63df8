package live

// Conn is a client's connection that carries several exchanges at a time.
type Conn struct {
	// All of it changes while the set is locked.
	running int    // exchanges
	uploads int    // that have begun or wait; see [Entry.BeginUpload]
	last    *Entry // that lingers, nil if none does
	closed  bool   // so that none may linger any more
}

func (c *Conn) begin() {
	if c == nil {
		return
	}
	c.running++
	if c.last != nil {
		c.last.Stall = 0 // from now on the connection need not become idle when it has ended
	}
}

func (c *Conn) end() {
	if c != nil {
		c.running--
	}
}

func (c *Conn) addUploads(n int) {
	if c != nil {
		c.uploads += n
	}
}

// lingerUnread is what is held of a response that lingers, in bytes.
const lingerUnread = 4 << 10

// Linger leaves x in the set although its handler is about to return, and reports whether it
// did. What is left of the response may wait for the client's window after that. Waiting for it
// before would take another frame of each short response. It must be the only exchange on its
// connection, so that [Set.Idle] is called when it has been sent. From now on nothing but its
// connection can be cut.
func (s *Set) Linger(x Exchange) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := x.entry()
	if e.set == nil || e.Conn == nil || e.Conn.running != 1 || e.Conn.closed || e.cut {
		return false
	}
	e.Conn.last, e.lingers = e, true
	e.Unread.Store(lingerUnread)
	e.writing.Store(s.clock())
	return true
}

// Lingers reports whether [Set.Linger] has left the entry in its set. It may be called by
// [Exchange.Cut] alone.
func (e *Entry) Lingers() bool { return e.lingers }

// Idle removes the exchange that lingers on c, if there is one: nothing is under way on c. It
// calls then before anybody else sees the set without the exchange.
func (s *Set) Idle(c *Conn, then func(Exchange)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.idle(c, then)
}

// Closed is [Set.Idle] for a connection that is closed, where it was called for the last time.
func (s *Set) Closed(c *Conn, then func(Exchange)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.closed = true
	s.idle(c, then)
}

func (s *Set) idle(c *Conn, then func(Exchange)) {
	e := c.last
	if e == nil {
		return
	}
	c.last = nil
	then(e.x)
	s.remove(e)
}
