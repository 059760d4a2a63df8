package proxy

import (
	"iter"
	"maps"
	"net/http"
	"time"

	"github.com/rs/zerolog"

	"github.com/agentproxy/agentproxy/proxy/hosts"
	"github.com/agentproxy/agentproxy/proxy/internal/live"
	"github.com/agentproxy/agentproxy/proxy/internal/refuse"
	"github.com/agentproxy/agentproxy/signer"
)

// Outcome is how an exchange ended, for metrics and the status page. It holds no
// credential, no query, no header field and no body. Host, Client, Method, Path and Reason
// are the client's words or hold some. Who keeps Method or Path copies it, because it is a
// part of the request.
type Outcome struct {
	Kind   string // as the access log names it
	Time   time.Time
	Client string // the session label
	Host   string // host:port; "" if the request was refused before that was known
	Method string
	Path   string // as it was sent, without query
	// Logged reports whether the access log has a line of it, at level info or above.
	Logged bool
	// Pattern is the one of Config.Intercept that the host matched, "" for other
	// hosts.
	Pattern string
	// Status is that of the response, 0 if there was none.
	Status int
	// Signer names what authorised the request, in the words of the configuration. It
	// is "" if the request was refused.
	Signer string
	// Scheme is the kind of credential that the request left with.
	Scheme signer.Scheme
	// Resent reports that the request was sent again with another credential, because
	// the server had answered the first one with 401.
	Resent bool
	// Refused and Reason are the code and the message of a refusal by the proxy.
	Refused, Reason string
	// OutOfScope is set if the request was out of scope, whether it was refused or sent.
	OutOfScope *OutOfScope
	// Failure says why an exchange that had begun did not complete, and CutBy who ended it:
	// client, server or proxy.
	Failure, CutBy string
	// FirstByte is the time to the response's header, Duration that to its end.
	FirstByte, Duration time.Duration
}

func outcomeOf(x *exchange) Outcome {
	by := ""
	if x.failure != "" {
		by = x.culprit.Side()
	}
	o := Outcome{
		Kind: x.kind, Time: x.started, Client: x.label, Method: x.method, Path: x.path, Logged: x.level() >= zerolog.InfoLevel && !x.unlogged, Pattern: x.pattern, Status: x.status,
		Resent: x.former != nil, OutOfScope: x.outOfScope, Failure: x.failure, CutBy: by, FirstByte: x.firstByte, Duration: time.Since(x.started),
	}
	if x.target != (hosts.Target{}) {
		o.Host = x.target.Authority()
	}
	if x.auth != nil {
		o.Signer, o.Scheme = x.auth.Signer, x.auth.Scheme
	}
	if refused := x.refused.Load(); refused != nil && !refused.Challenge {
		o.Refused, o.Reason = refused.Code, refused.Message
	}
	return o
}

// Bytes counts what passed between the proxy and its clients.
type Bytes struct {
	Received int64 `json:"received"` // from clients
	Sent     int64 `json:"sent"`     // to clients
}

func (b Bytes) plus(x *exchange) Bytes {
	return Bytes{b.Received + x.received.Load(), b.Sent + x.sent.Load()}
}

// Traffic is what a [Proxy] carries. Its maps are keyed by kind, as the access log
// names it.
type Traffic struct {
	// Running counts the running requests and tunnels, WebSockets under a kind of
	// their own.
	Running map[string]int
	// Bytes counts the bytes of all exchanges so far. Those of a tunnel are known when
	// it has ended.
	Bytes map[string]Bytes
}

// Running is a running exchange. It holds no credential, no query and no header
// field.
type Running struct {
	Kind    string    `json:"kind"`             // as the access log names it, or websocket
	Client  string    `json:"client,omitempty"` // the session label
	Host    string    `json:"host"`             // host:port
	Method  string    `json:"method"`
	Path    string    `json:"path,omitempty"` // as it was sent, without query
	Started time.Time `json:"started"`
	Bytes             // zero for tunnels, whose bytes are known when they have ended
}

// running lists the running exchanges, and counts the bytes of those that have ended.
// An exchange is added when its target and label are settled, because other
// goroutines read them from then on.
type running struct {
	set   *live.Set
	ended map[string]Bytes // by kind; changes while the set is locked
}

func newRunning(b live.Bounds) *running {
	return &running{live.NewSet(b), make(map[string]Bytes)}
}

// add lists x, whose request is r, unless there is no room for it.
func (l *running) add(x *exchange, r *http.Request) *refuse.Refusal { return l.set.Add(x, x.label, r) }

// end counts an exchange that has ended, listed or not.
func (l *running) end(x *exchange) { l.set.Remove(x, func() { l.count(x) }) }

// idle is told that nothing is under way on a connection of HTTP/2, or that it is closed.
func (l *running) idle(c *live.Conn, closed bool) {
	then := func(e live.Exchange) { l.count(e.(*exchange)) }
	if closed {
		l.set.Closed(c, then)
		return
	}
	l.set.Idle(c, then)
}

func (l *running) count(x *exchange) {
	// The bytes of a CONNECT are those of the requests inside. What a gateway asks
	// about it sends itself.
	if x.kind != KindConnect && x.kind != KindAsk {
		l.ended[x.kind] = l.ended[x.kind].plus(x)
	}
}

func (l *running) traffic() Traffic {
	t := Traffic{
		Running: map[string]int{KindRequest: 0, KindPlain: 0, KindTunnel: 0, KindWebSocket: 0},
		Bytes:   map[string]Bytes{KindRequest: {}, KindPlain: {}, KindTunnel: {}},
	}
	l.set.Locked(func(all iter.Seq[live.Exchange]) {
		maps.Copy(t.Bytes, l.ended)
		for e := range all {
			x := e.(*exchange)
			t.Running[liveKind(x)]++
			t.Bytes[x.kind] = t.Bytes[x.kind].plus(x)
		}
	})
	return t
}

func (l *running) running(most int) (list []Running) {
	l.set.Locked(func(all iter.Seq[live.Exchange]) {
		for e := range all {
			if len(list) == most {
				return
			}
			x := e.(*exchange)
			list = append(list, Running{liveKind(x), x.label, x.target.Authority(), x.method, x.path, x.started, Bytes{}.plus(x)})
		}
	})
	return list
}

// liveKind returns the kind of a running exchange, with WebSockets told apart.
func liveKind(x *exchange) string {
	if x.webSocket.Load() {
		return KindWebSocket
	}
	return x.kind
}
