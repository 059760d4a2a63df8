package proxy

import (
	"context"
	"net"
	"net/http"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/agentproxy/agentproxy/proxy/access"
	"github.com/agentproxy/agentproxy/proxy/audit"
	"github.com/agentproxy/agentproxy/proxy/hosts"
	"github.com/agentproxy/agentproxy/proxy/internal/refuse"
	"github.com/agentproxy/agentproxy/signer"
)

// The kinds of exchange. They are words of the access log, and do not change.
const (
	KindRequest = "request" // inside an intercepted tunnel
	KindPlain   = "plain"   // http:// through the proxy
	KindTunnel  = "tunnel"  // CONNECT, not intercepted, or refused
	KindConnect = "connect" // CONNECT, intercepted: the requests inside follow
	KindAsk     = "authz"   // a request that a gateway asks about and sends itself
)

// More kinds, for those who watch.
const (
	KindWebSocket  = "websocket"  // a request that was upgraded, while it is under way
	KindConnection = "connection" // refused before it could ask for anything
)

// serveFront answers whatever is sent to the proxy's own port.
func (p *Proxy) serveFront(w http.ResponseWriter, r *http.Request) {
	kind := KindPlain
	if r.Method == http.MethodConnect {
		kind = KindTunnel
	}
	x := p.begin(w, r, kind)
	defer p.end(x)
	r = r.WithContext(context.WithValue(r.Context(), exchangeKey{}, x))

	if refused := refuseOriginForm(r); refused != nil {
		x.refuse(refused)
		return
	}
	if refused := x.policy.Limits.checkFields(r.Header); refused != nil {
		x.refuse(refused)
		return
	}
	admitted, refused := x.policy.clients.Admit(r)
	if refused != nil {
		x.refuse(refused)
		return
	}
	x.admitted, x.label = &access.KeptAdmission{Admission: admitted}, admitted.Label
	x.client, _ = r.Context().Value(clientConnKey{}).(net.Conn)
	if refused := x.choose(); refused != nil {
		x.refuse(refused)
		return
	}
	if refused := p.admitLabel(r.Context(), x); refused != nil {
		x.refuse(refused)
		return
	}
	if r.Method == http.MethodConnect {
		p.connects.ServeHTTP(x, r)
		return
	}
	p.servePlain(x, r)
}

// servePlain forwards a request for an http:// URL. goproxy could do that too,
// but buffers what is not an event stream, hides a truncated answer and adds a
// User-Agent; what forwards intercepted requests does none of it.
func (p *Proxy) servePlain(x *exchange, r *http.Request) {
	t, refused := plainTarget(r)
	if refused != nil {
		x.refuse(refused)
		return
	}
	x.target, x.path = t, rawPath(r)
	p.live.add(x)
	if refused := checkPlainMethod(r.Method); refused != nil {
		x.refuse(refused)
		return
	}
	if x.policy.interceptsHost(t.Host) {
		x.refuse(refuse.New(http.StatusForbidden, "plain_http_refused", "http_request_denied",
			"http://%s would send the request in clear text; use https://, which the proxy intercepts and signs", t.Host))
		return
	}
	if refused := x.checkOther(t); refused != nil {
		x.refuse(refused)
		return
	}
	if refused := x.decide(audit.VerdictPlain, nil); refused != nil {
		x.refuse(refused)
		return
	}
	p.forward(x, r)
}

// interceptsHost reports whether requests to host are signed on any port.
func (pol *policy) interceptsHost(host string) bool { return pol.Intercept.MatchHost(host) }

func plainTarget(r *http.Request) (hosts.Target, *refuse.Refusal) {
	switch {
	case r.URL.Scheme == "https":
		return hosts.Target{}, refuse.New(http.StatusBadRequest, "https_without_connect", "http_request_error",
			"https:// goes through the proxy by CONNECT, so that it is encrypted on the way")
	case r.URL.Scheme != "http":
		return hosts.Target{}, refuse.New(http.StatusBadRequest, "bad_scheme", "http_request_error", "the proxy does not speak %q", r.URL.Scheme)
	case r.URL.User != nil:
		return hosts.Target{}, refuse.New(http.StatusBadRequest, "bad_target", "http_request_error", "a URL with a user name is not forwarded")
	}
	authority := r.URL.Host
	if r.URL.Port() == "" && !strings.HasSuffix(authority, ":") {
		authority += ":80"
	}
	t, err := hosts.ParseTarget(authority)
	if err != nil {
		return hosts.Target{}, refuseTarget(err)
	}
	return t, nil
}

// forward sends the exchange's request on.
func (p *Proxy) forward(x *exchange, r *http.Request) {
	if !isUpgrade(r) {
		p.relay(x, r)
		return
	}
	// A copy, for net/http goes by the type of its own request's body when it
	// ends the exchange.
	r = r.WithContext(context.WithValue(r.Context(), exchangeKey{}, x))
	if r.Body != nil && r.Body != http.NoBody {
		r.Body = &outgoingBody{body: r.Body, x: x}
	}
	p.upgrader.ServeHTTP(x, r)
}

// isUpgrade reports whether r asks to speak another protocol on its connection
// (RFC 9110, 7.8).
func isUpgrade(r *http.Request) bool {
	return r.Header["Upgrade"] != nil && httpguts.HeaderValuesContainsToken(r.Header["Connection"], "Upgrade")
}

// rawPath is the path of a request byte for byte as it was sent.
func rawPath(r *http.Request) string {
	path, _, _ := strings.Cut(r.RequestURI, "?")
	if r.URL.IsAbs() {
		_, path, _ = strings.Cut(path, "://")
		i := strings.IndexByte(path, '/')
		if i < 0 {
			return "/"
		}
		path = path[i:]
	}
	return path
}

func signRequest(x *exchange) signer.Request {
	return signer.Request{Host: x.target.Host, Method: x.method, Path: x.path, Kind: x.credential, Label: x.label}
}
