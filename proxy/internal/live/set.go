// Package live lists the exchanges that run, and bounds what they hold: how many run
// for a session label, and the memory of heads, of bodies that are held to be sent
// again, and of responses that no client reads.
package live

import (
	"iter"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/agentproxy/agentproxy/proxy/internal/refuse"
)

// Exchange is what a [Set] lists. It embeds an [Entry].
type Exchange interface {
	// Cut ends the exchange soon, for a reason that the log gives. It is called before
	// [Set.Remove] returns, by another goroutine than the exchange's own. It may wait for the
	// exchange's connection: the set is not locked. It is if the exchange lingers.
	Cut(reason string)
	entry() *Entry
}

// Entry is the place of an exchange in a [Set]. It may be embedded.
type Entry struct {
	// Unread is what is held of the response, in bytes, while its client does not read.
	// It may be set while 1xx responses are written.
	Unread atomic.Int64
	// Window is what a server may send of the response before the client reads, in bytes; see
	// [Entry.TakeWindow].
	Window int64
	// Many says that as much may be sent of all responses to the label that others would wait for
	// it on a connection that they share, or that there is no room for more that is wide.
	Many bool
	// Stall is how long the client may let nothing through. 0: for ever.
	Stall time.Duration
	// Conn is the connection of the exchange if that carries others too, else nil. It is set
	// before [Set.Add].
	Conn *Conn

	set           *Set // nil: not listed
	x             Exchange
	label         *label
	head          int64 // bytes
	before, after *Entry
	writing       atomic.Int64 // when the write under way has begun, by the set's clock; 0: none is
	cut           bool         // or about to be
	lingers       bool         // see [Set.Linger]
	uploading     atomic.Int64 // bytes; changes with the set locked
	window        int64        // bytes of Window that are counted

	cutting sync.Mutex // held while it is cut
	over    bool       // it must not be cut any more; changes while cutting is held
}

func (e *Entry) entry() *Entry { return e }

// Listed reports whether the entry is in a set.
func (e *Entry) Listed() bool { return e.set != nil }

// BeginWrite notes that the client is written to.
func (e *Entry) BeginWrite() {
	if e.set != nil {
		e.writing.Store(e.set.clock())
	}
}

// Write returns what notes the writes to a connection of its own, which may go on after
// [Set.Remove].
func (e *Entry) Write() Write { return Write{e, e.set} }

// Write notes that a client is written to.
type Write struct {
	entry *Entry
	set   *Set
}

// Begin notes that a write begins.
func (w Write) Begin() { w.entry.writing.Store(w.set.clock()) }

// End notes that it has ended.
func (w Write) End() { w.entry.writing.Store(0) }

// EndWrite notes that what was written is on its way.
func (e *Entry) EndWrite() { e.writing.Store(0) }

// Take implements [message.Budget] for the body of the exchange's request.
func (e *Entry) Take(n int64) bool {
	b := e.set.bounds.Load()
	if !take(&e.label.bodies, n, b.Bodies.Label) {
		return false
	}
	if !take(&e.set.bodies, n, b.Bodies.All) {
		e.label.bodies.Add(-n)
		return false
	}
	return true
}

// Give implements [message.Budget].
func (e *Entry) Give(n int64) {
	e.label.bodies.Add(-n)
	e.set.bodies.Add(-n)
}

// TakeWindow sets Window to wide if there is room for so many bytes that may come at once, else
// to narrow, for which there always is, and sets Many. It is counted until [Entry.GiveWindow] or
// [Set.Remove].
func (e *Entry) TakeWindow(wide, narrow int64) {
	e.Window = wide
	s := e.set
	if s == nil {
		return
	}
	b := s.bounds.Load().Windows
	s.mu.Lock()
	defer s.mu.Unlock()
	if !b.roomFor(e.label.windows, s.windows, wide) {
		e.Window, e.Many = narrow, true
		return
	}
	e.window = wide
	e.label.windows += wide
	s.windows += wide
	e.Many = e.label.windows > sharedWindows
}

// GiveWindow gives back what [Entry.TakeWindow] has counted: the response comes over HTTP/1.1, which
// has no windows. Which protocol a server is asked over is not known before.
func (e *Entry) GiveWindow() {
	s := e.set
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.giveWindow(e)
}

func (s *Set) giveWindow(e *Entry) {
	e.label.windows -= e.window
	s.windows -= e.window
	e.window = 0
}

// label is what the exchanges of a session label have in use.
type label struct {
	set     *Set
	name    string
	running int
	unread  int64 // bytes, when the set last looked
	heads   int64 // bytes
	bodies  atomic.Int64
	uploads int64 // bytes
	windows int64 // bytes
}

// Set lists the exchanges that run.
type Set struct {
	bounds    atomic.Pointer[Bounds]
	bodies    atomic.Int64 // bytes
	strangers atomic.Int64 // bytes, of heads
	born      time.Time
	woken     chan struct{} // has a value when there is something to look at

	mu     sync.Mutex
	first  *Entry
	labels map[string]*label
	heads  int64 // bytes
	unread int64 // bytes, when it last looked
	awake  bool  // the set is looked at

	windows        int64            // bytes
	uploads        int64            // bytes
	uploadsWaiting []*waitingUpload // the longest waiting first
}

// NewSet returns an empty set with bounds.
func NewSet(b Bounds) *Set {
	s := &Set{born: time.Now(), woken: make(chan struct{}, 1), labels: make(map[string]*label)}
	s.SetBounds(b)
	return s
}

// SetBounds replaces the bounds for what comes from now on, and for uploads that wait.
func (s *Set) SetBounds(b Bounds) {
	s.bounds.Store(&b)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.beginWaiting()
}

// clock returns the time since the set was made, in nanoseconds, which is never 0.
func (s *Set) clock() int64 { return int64(time.Since(s.born)) + 1 }

// Add lists x, whose session label is name, until [Set.Remove]. It refuses x if the
// bounds leave no room for it. Other goroutines may read x from then on. r may be nil.
func (s *Set) Add(x Exchange, name string, r *http.Request) *refuse.Refusal {
	b, head := s.bounds.Load(), headBytes(r)
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.labelOf(name)
	if refused := s.check(l, head, b); refused != nil {
		s.forget(l)
		return refused
	}
	e := x.entry()
	l.running++
	l.heads += head
	s.heads += head
	e.set, e.x, e.label, e.head, e.after = s, x, l, head, s.first
	if s.first != nil {
		s.first.before = e
	}
	s.first = e
	e.Conn.begin()
	if !s.awake {
		s.awake = true
		s.woken <- struct{}{} // never waits: whoever took the last value has set awake to false
	}
	return nil
}

// Remove takes x, listed or not, out of the set. It calls then before anybody else sees
// the set without x. It waits while x is cut.
func (s *Set) Remove(x Exchange, then func()) {
	e := x.entry()
	e.cutting.Lock()
	e.over = true
	e.cutting.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	then()
	s.remove(e)
}

func (s *Set) remove(e *Entry) {
	if e.set == nil {
		return
	}
	e.Conn.end()
	s.endUpload(e)
	e.label.running--
	e.label.heads -= e.head
	s.heads -= e.head
	s.giveWindow(e)
	if e.before == nil {
		s.first = e.after
	} else {
		e.before.after = e.after
	}
	if e.after != nil {
		e.after.before = e.before
	}
	e.set, e.before, e.after = nil, nil, nil
}

// Locked calls f with the exchanges, the latest first. None comes or goes meanwhile.
func (s *Set) Locked(f func(all iter.Seq[Exchange])) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(func(yield func(Exchange) bool) {
		for e := s.first; e != nil && yield(e.x); e = e.after {
		}
	})
}

// labelOf returns what a label has in use. The caller calls [Set.forget] if it leaves
// nothing there.
func (s *Set) labelOf(name string) *label {
	l := s.labels[name]
	if l == nil {
		l = &label{set: s, name: name}
		s.labels[name] = l
	}
	return l
}

// forget drops a label of which nothing is in use.
func (s *Set) forget(l *label) {
	if l.running == 0 && l.heads == 0 && l.bodies.Load() == 0 {
		delete(s.labels, l.name)
	}
}

// fieldBytes is what a field takes besides its bytes, in the request and in its copy that is
// sent on.
const fieldBytes = 200

// headBytes returns the bytes of a request's head.
func headBytes(r *http.Request) (n int64) {
	if r == nil {
		return 0
	}
	n = int64(len(r.RequestURI))
	for name, values := range r.Header {
		for _, v := range values {
			n += int64(len(name)+len(v)) + fieldBytes
		}
	}
	return n
}

// take adds n to what is used unless that would be more than most.
func take(used *atomic.Int64, n, most int64) bool {
	if used.Add(n) <= most {
		return true
	}
	used.Add(-n)
	return false
}
