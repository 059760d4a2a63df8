package proxy

import (
	"sync"
	"sync/atomic"
	"time"
)

// live lists the exchanges that are under way, and counts the bytes of those
// that were. An exchange is added when its target and label are settled, for
// from then on others look at it.
type live struct {
	mu    sync.Mutex
	first *exchange
	ended map[string]Bytes // by kind
}

// watched is what an exchange has for those who watch.
type watched struct {
	pattern   string        // of Config.Intercept that the target matched, "" for others
	firstByte time.Duration // from the beginning to the answer's header
	// webSocket is set when the server has switched protocols.
	webSocket atomic.Bool

	listed        bool
	before, after *exchange // in the list
}

// answered notes that the answer's header is on its way.
func (x *exchange) answered(status int) { x.status, x.firstByte = status, time.Since(x.started) }

func newLive() *live { return &live{ended: make(map[string]Bytes)} }

func (l *live) add(x *exchange) {
	l.mu.Lock()
	defer l.mu.Unlock()
	x.listed, x.after = true, l.first
	if l.first != nil {
		l.first.before = x
	}
	l.first = x
}

// end is called for every exchange, listed or not.
func (l *live) end(x *exchange) {
	l.mu.Lock()
	defer l.mu.Unlock()
	// The bytes of a CONNECT are those of the requests inside, and what a gateway
	// asks about it sends itself.
	if x.kind != KindConnect && x.kind != KindAsk {
		l.ended[x.kind] = l.ended[x.kind].plus(x)
	}
	if !x.listed {
		return
	}
	if x.before == nil {
		l.first = x.after
	} else {
		x.before.after = x.after
	}
	if x.after != nil {
		x.after.before = x.before
	}
	x.listed, x.before, x.after = false, nil, nil
}

// Bytes counts what passed between the proxy and its clients.
type Bytes struct {
	Received int64 // from clients
	Sent     int64 // to clients
}

func (b Bytes) plus(x *exchange) Bytes {
	return Bytes{b.Received + x.received.Load(), b.Sent + x.sent.Load()}
}

// Traffic is what a [Proxy] carries. Its maps are keyed by kind, as the access
// log names it.
type Traffic struct {
	// Running counts the requests and tunnels that are under way, WebSockets
	// under a kind of their own.
	Running map[string]int
	// Bytes counts the bytes of all exchanges so far. Those of a tunnel are
	// known when it has ended.
	Bytes map[string]Bytes
}

// Traffic returns what the proxy carries at the moment.
func (p *Proxy) Traffic() Traffic {
	l := p.live
	l.mu.Lock()
	defer l.mu.Unlock()
	t := Traffic{
		Running: map[string]int{KindRequest: 0, KindPlain: 0, KindTunnel: 0, KindWebSocket: 0},
		Bytes:   map[string]Bytes{KindRequest: {}, KindPlain: {}, KindTunnel: {}},
	}
	for kind, ended := range l.ended {
		t.Bytes[kind] = ended
	}
	for x := l.first; x != nil; x = x.after {
		t.Running[x.liveKind()]++
		t.Bytes[x.kind] = t.Bytes[x.kind].plus(x)
	}
	return t
}

// Running is an exchange that is under way. Like a [Decision] it holds no
// credential, no query and no header.
type Running struct {
	Kind    string // as the access log names it, or websocket
	Client  string // the session label
	Host    string // host:port
	Started time.Time
	Bytes   // zero for tunnels, whose bytes are known when they have ended
}

// Running returns the exchanges that are under way, the latest first, but no
// more than most.
func (p *Proxy) Running(most int) []Running {
	l := p.live
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []Running
	for x := l.first; x != nil && len(all) < most; x = x.after {
		all = append(all, Running{x.liveKind(), x.label, x.target.Authority(), x.started, Bytes{}.plus(x)})
	}
	return all
}

// liveKind is the exchange's kind, with WebSockets told apart.
func (x *exchange) liveKind() string {
	if x.webSocket.Load() {
		return KindWebSocket
	}
	return x.kind
}
