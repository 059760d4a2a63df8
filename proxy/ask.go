package proxy

import (
	"context"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/agentproxy/agentproxy/proxy/access"
	"github.com/agentproxy/agentproxy/proxy/hosts"
	"github.com/agentproxy/agentproxy/proxy/internal/checks"
	"github.com/agentproxy/agentproxy/proxy/internal/credential"
	"github.com/agentproxy/agentproxy/proxy/internal/cut"
	"github.com/agentproxy/agentproxy/proxy/internal/failure"
	"github.com/agentproxy/agentproxy/proxy/internal/refuse"
)

// Ask is a request that a gateway is about to send itself and wants to have
// authorised.
type Ask struct {
	Label string // the client's session label, "" for none
	Peer  string // the address of the gateway
	// Host is the server that the request will go to, over TLS: a host, or host:port.
	// The gateway must take it from its configuration and never from the client.
	Host   string
	Method string
	// URI is the path and query, byte for byte as the server will see them.
	URI string
	// Header is the client's: its credentials, and what it says of web pages and of
	// upgrades.
	Header http.Header
}

// Answer says what a gateway is to do with the request that it asked about.
type Answer struct {
	// Status is 200 if the request is authorised, else that of the refusal, which the
	// gateway should give to the client.
	Status int
	// Code and Message say in one word, and in a sentence with the remedy, why the
	// request is refused. Code is "" if it is not.
	Code, Message string
	// Header has those of [CredentialHeaders] that the request must be sent with. The
	// others it must be sent without, whatever the client has put there. If the request
	// is refused, Header is that of the refusal.
	Header http.Header
	// Body is the refusal's, in JSON.
	Body []byte
}

// Granted reports whether the request is authorised.
func (a Answer) Granted() bool { return a.Code == "" }

// Refusal returns the answer that refuses a request with a status, a code and a
// message.
func Refusal(status int, code, message string) Answer {
	return answerOf(refuse.New(status, code, "http_request_denied", "%s", message))
}

func answerOf(r *refuse.Refusal) Answer {
	return Answer{Status: r.Status, Code: r.Code, Message: r.Message, Header: r.Header(), Body: r.Body()}
}

// CredentialHeaders returns the names of the fields that only an [Answer] may set.
func CredentialHeaders() []string {
	return credential.Fields()
}

// Authorize decides on a request that a gateway will send, as on those that the
// proxy sends itself.
func (p *Proxy) Authorize(ctx context.Context, ask Ask) Answer {
	path, _, _ := strings.Cut(ask.URI, "?")
	p.life.running.Add(1)
	x := &exchange{
		policy: p.policies.hold(), strangers: p.strangers,
		facts: facts{kind: KindAsk, label: ask.Label, peer: ask.Peer, method: ask.Method, path: path},
	}
	x.started = time.Now()
	defer p.end(x)
	if refused := grantAsk(ctx, x, ask); refused != nil {
		if ctx.Err() != nil {
			x.failure = "cancelled"
			x.culprit.Name(cut.Client)
			return answerOf(refused)
		}
		x.status = refused.Status
		x.refuseWith(refused)
		return answerOf(refused)
	}
	x.status = http.StatusOK
	header := make(http.Header)
	for _, name := range CredentialHeaders() {
		if values := ask.Header[name]; values != nil {
			header[name] = values
		}
	}
	credential.Authorize(header, x.auth)
	return Answer{Status: http.StatusOK, Header: header}
}

// NoteRefusal tells of an [Ask] that was refused before it came to [Proxy.Authorize], and
// where it came from, "" if that is not known. Refusals of one code are summed up.
func (p *Proxy) NoteRefusal(peer string, a Answer) {
	p.note(KindAsk, peer, &refuse.Refusal{Status: a.Status, Code: a.Code, Message: a.Message})
}

func grantAsk(ctx context.Context, x *exchange, ask Ask) *refuse.Refusal {
	if wrong := access.CheckLabel(ask.Label); wrong != "" {
		x.label = "" // no log may have it
		return refuse.New(http.StatusBadRequest, "bad_label", "http_request_denied", "the session label %s", wrong)
	}
	if refused := checks.RequestLine(ask.Method, ask.URI); refused != nil {
		return refused
	}
	if refused := checks.Method(ask.Method); refused != nil {
		return refused
	}
	if !strings.HasPrefix(ask.URI, "/") {
		return checks.Malformed("only requests for a path are signed")
	}
	authority := ask.Host
	if _, _, err := net.SplitHostPort(authority); err != nil {
		authority = net.JoinHostPort(authority, "443")
	}
	t, err := hosts.ParseTarget(authority)
	if err != nil {
		return failure.Target(err)
	}
	x.target = t
	if pattern, ok := x.policy.Intercept.Find(t.Host, t.Port); ok {
		x.pattern = pattern.String()
	}
	if refused := checkSpelling(ask.Header); refused != nil {
		return refused
	}
	x.asked = askedBy(ask.Header)
	x.asked.upgrade = gatewayUpgrade(ask.Header)
	return x.grant(ctx)
}

// gatewayUpgrade returns the protocol that a gateway may upgrade the connection to,
// "" for none. It may have taken Connection out of its question, and Upgrade with it,
// and upgrade all the same. No WebSocket is opened over HTTP/1.1 without a key (RFC
// 6455, section 4.2.1).
func gatewayUpgrade(h http.Header) string {
	upgrade := strings.Join(h["Upgrade"], ", ")
	if upgrade == "" && h["Sec-Websocket-Key"] != nil {
		return "websocket"
	}
	return upgrade
}

// checkSpelling refuses a request with another spelling of a field that only an
// [Answer] may set: the gateway replaces the fields that it is told by name, and might
// pass this one on.
func checkSpelling(h http.Header) *refuse.Refusal {
	for name := range h {
		if credential.IsField(name) && !slices.Contains(CredentialHeaders(), http.CanonicalHeaderKey(name)) {
			return checks.Malformed("the header %s means the same as one that carries a credential; leave it out", name)
		}
	}
	return nil
}
