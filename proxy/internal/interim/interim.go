// Package interim passes 1xx responses on to clients (RFC 9110, section 15.2). A server may
// send them on a connection that it shares with other clients' responses, none of which may
// wait for a client that does not read.
package interim

import (
	"crypto/tls"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"sync"
	"sync/atomic"

	"github.com/agentproxy/agentproxy/internal/contain"
	"github.com/agentproxy/agentproxy/proxy/internal/message"
)

const (
	// MaxUnread bounds what waits for one client, in bytes. A longer response waits alone.
	MaxUnread = 256 << 10
	// responseCost and fieldCost are what a response and a field take besides their bytes, so
	// that MaxUnread bounds their number, too.
	responseCost = 200
	fieldCost    = 100
)

var (
	errUnread   = message.Errorf("the server has sent more interim responses than the client has read, and %d KiB of them wait", MaxUnread>>10)
	errSwitched = message.Errorf("the server switched to another protocol over HTTP/2, which cannot be")
)

// Client is who gets the responses.
type Client interface {
	// Redact removes from a header what the client must not see. It does not wait.
	Redact(header http.Header)
	// WriteInterim writes a response with those fields. One goroutine at a time calls it.
	WriteInterim(status int, fields http.Header)
	// Panicked is told that one of these has panicked, which ends the request.
	Panicked(*contain.PanicError)
}

// Queue has what a client has not read yet of the 1xx responses to its request. A goroutine
// writes them, in the order in which they came, until [Queue.Stop].
type Queue struct {
	client Client
	unread *atomic.Int64
	asks   atomic.Bool // the client waits for a 100

	mu      sync.Mutex
	shared  bool // the connection that they come on
	stopped bool
	*backlog
}

// backlog is what a queue has once there is something in it, as most never have. It changes
// with the queue locked.
type backlog struct {
	changed sync.Cond // it has
	writer  sync.WaitGroup
	writing bool
	waiting []response
	bytes   int64 // of waiting, and of what is being written
	asked   bool  // the client has got a 100
	err     error // why no more may come
}

type response struct {
	status int
	fields http.Header
	cost   int64 // bytes
}

// New returns a queue for client, which counts in unread what it holds, in bytes. asks says
// whether the client waits for a 100 before it sends its body.
func New(client Client, unread *atomic.Int64, asks bool) *Queue {
	q := &Queue{client: client, unread: unread}
	q.asks.Store(asks)
	return q
}

// Trace returns what tells q of the responses that a transport reads, and waits, which may be nil,
// that the header of the request is on its way, or waits for a connection that is about to be made.
func (q *Queue) Trace(waits func()) *httptrace.ClientTrace {
	t := &httptrace.ClientTrace{GotConn: q.gotConn, Got1xxResponse: q.Send, WroteHeaders: waits}
	if waits != nil {
		t.ConnectStart = func(string, string) { waits() }
	}
	return t
}

// gotConn notes over which protocol the request is sent. Of transports that call it, those
// over HTTP/2 alone share connections; that of h1client calls it for none.
func (q *Queue) gotConn(info httptrace.GotConnInfo) {
	secured, ok := info.Conn.(*tls.Conn)
	q.mu.Lock()
	defer q.mu.Unlock()
	q.shared = ok && secured.ConnectionState().NegotiatedProtocol == "h2"
}

// Send implements [httptrace.ClientTrace.Got1xxResponse]. When too much waits, it waits too if
// that holds up nobody else. Otherwise it returns an error, with which a transport ends the
// request: a proxy must pass on each of these responses (RFC 9110, section 15.2), so that none
// is dropped as if it had not come. It returns nil after [Queue.Stop], because a transport may
// still have some when it has given up the request.
func (q *Queue) Send(status int, header textproto.MIMEHeader) (err error) {
	defer contain.Recover(q.client.Panicked, &err) // on a transport's goroutine it would end the program
	if status == http.StatusContinue {
		return nil // see Ask, and over HTTP/2 net/http sends it by itself
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.stopped {
		return nil
	}
	if q.begin(); q.err != nil {
		return q.err
	}
	if status == http.StatusSwitchingProtocols {
		// It is a final response over HTTP/1.1, and HTTP/2 has none (RFC 9113, section 8.6).
		return q.fail(errSwitched)
	}
	fields := http.Header(header).Clone() // it is the transport's
	message.RemoveHopByHop(fields)
	q.client.Redact(fields)
	r := response{status, fields, costOf(fields)}
	for q.bytes > 0 && q.bytes+r.cost > MaxUnread {
		if q.shared {
			return q.fail(errUnread)
		}
		if q.changed.Wait(); q.stopped || q.err != nil {
			return q.err
		}
	}
	q.add(r)
	return nil
}

// begin makes the backlog.
func (q *Queue) begin() {
	if q.backlog == nil {
		q.backlog = &backlog{changed: sync.Cond{L: &q.mu}}
	}
}

func costOf(fields http.Header) int64 {
	n := int64(responseCost)
	for name, values := range fields {
		for _, v := range values {
			n += int64(len(name)+len(v)) + fieldCost
		}
	}
	return n
}

// Ask asks the client for its body if it waits for that, and waits until it was asked. net/http
// would do so by itself when the body is first read, and not look whether another goroutine
// writes a response. The body must not be read after an error. A nil queue asks nobody.
func (q *Queue) Ask() error {
	if q == nil || !q.asks.Load() {
		return nil
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.begin(); !q.stopped && q.err == nil {
		q.add(response{status: http.StatusContinue, cost: responseCost})
	}
	for q.writing && !q.asked && q.err == nil {
		q.changed.Wait()
	}
	if q.err != nil && !q.asked {
		return q.err
	}
	q.asks.Store(false)
	return nil
}

// Stop waits until the client has got what came before it. Nothing is written when it returns.
func (q *Queue) Stop() {
	q.mu.Lock()
	q.stopped = true
	b := q.backlog
	q.mu.Unlock()
	if b != nil {
		b.changed.Broadcast()
		b.writer.Wait()
	}
}

// Err returns why q has ended the request, nil if it has not.
func (q *Queue) Err() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.backlog == nil {
		return nil
	}
	return q.err
}

// fail ends the request with err. The client still gets what waits.
func (q *Queue) fail(err error) error {
	q.err = err
	q.changed.Broadcast()
	return err
}

func (q *Queue) add(r response) {
	q.waiting = append(q.waiting, r)
	q.count(r.cost)
	if !q.writing {
		q.writing = true
		q.writer.Go(q.write)
	}
}

func (q *Queue) count(n int64) {
	q.bytes += n
	q.unread.Add(n)
}

// send writes r while q is not locked. The error is that of a panic.
func (q *Queue) send(r response) (err error) {
	q.mu.Unlock()
	defer q.mu.Lock()
	defer contain.Recover(q.client.Panicked, &err)
	q.client.WriteInterim(r.status, r.fields)
	return nil
}

// write writes what waits, until nothing does.
func (q *Queue) write() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.waiting) > 0 {
		r := q.waiting[0]
		q.waiting = q.waiting[1:]
		err := q.send(r)
		if err != nil { // a part of it may be written, which nothing may follow
			_ = q.fail(err)
			for _, r := range q.waiting {
				q.count(-r.cost)
			}
			q.waiting = nil
		}
		q.asked = q.asked || err == nil && r.status == http.StatusContinue
		q.count(-r.cost)
		q.changed.Broadcast()
	}
	q.waiting, q.writing = nil, false
	q.changed.Broadcast()
}
