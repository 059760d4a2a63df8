package proxy

import (
	"context"
	"net"
	"net/http"
	"strings"

	"github.com/elazarl/goproxy"

	"github.com/agentproxy/agentproxy/proxy/access"
	"github.com/agentproxy/agentproxy/proxy/audit"
	"github.com/agentproxy/agentproxy/proxy/hosts"
	"github.com/agentproxy/agentproxy/proxy/internal/checks"
	"github.com/agentproxy/agentproxy/proxy/internal/failure"
	"github.com/agentproxy/agentproxy/proxy/internal/message"
	"github.com/agentproxy/agentproxy/proxy/internal/netconn"
	"github.com/agentproxy/agentproxy/proxy/internal/refuse"
)

// The kinds of exchange. They are words of the access log, and do not change.
const (
	KindRequest = "request" // inside an intercepted tunnel
	KindPlain   = "plain"   // http:// through the proxy
	KindTunnel  = "tunnel"  // CONNECT, not intercepted, or refused
	KindConnect = "connect" // CONNECT, intercepted: the requests inside follow
	KindAsk     = "authz"   // a request that a gateway asks about and sends itself
)

// More kinds, for metrics.
const (
	KindWebSocket  = "websocket"  // a request that was upgraded, while it runs
	KindConnection = "connection" // refused before it could ask for anything
)

// front answers what is sent to the proxy's own port.
type front struct {
	*Proxy
	connects *goproxy.ProxyHttpServer
}

// ServeHTTP implements [http.Handler].
func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	kind := KindPlain
	if r.Method == http.MethodConnect {
		kind = KindTunnel
	}
	x := f.begin(w, r, kind)
	conn, _ := r.Context().Value(clientConnKey{}).(*netconn.StallConn)
	defer func() {
		if conn != nil && kind == KindPlain && x.bodyLeft.Load() {
			conn.AwaitRest(refusalTimeout)
		}
	}()
	defer f.end(x)
	r = r.WithContext(context.WithValue(r.Context(), exchangeKey{}, x))
	if refused := f.admit(x, r); refused != nil {
		x.stranger = x.admission == nil
		x.refuse(refused)
		if conn != nil {
			conn.EndHead()
		}
		return
	}
	if kind == KindTunnel {
		f.connects.ServeHTTP(x, r)
		return
	}
	if refused := f.checkPlain(x, r); refused != nil {
		x.refuse(refused)
		return
	}
	f.forward(x, r)
}

// admit decides whether the client that sent r may use the proxy.
func (f *front) admit(x *exchange, r *http.Request) (refused *refuse.Refusal) {
	if refused = checks.ProxyForm(r); refused != nil {
		return refused
	}
	if refused = x.policy.Limits.CheckFields(r.Header); refused != nil {
		return refused
	}
	admission, refused := x.policy.clients.Admit(r)
	if refused != nil {
		return refused
	}
	x.admission, x.label = &access.KeptAdmission{Admission: admission}, admission.Label
	x.client, _ = r.Context().Value(clientConnKey{}).(net.Conn)
	if x.profile, refused = x.policy.profileOf(x.label); refused != nil {
		return refused
	}
	if refused = f.labels.Use(admission, x.policy.Limits.LabelsPerClient); refused != nil {
		return refused
	}
	return f.places.admitLabel(r.Context(), x)
}

// checkPlain decides whether a request for an http:// URL is sent on. goproxy could
// send it, but buffers what is not an event stream, hides a truncated response and
// adds a User-Agent.
func (f *front) checkPlain(x *exchange, r *http.Request) *refuse.Refusal {
	t, refused := plainTarget(r)
	if refused != nil {
		return refused
	}
	x.target, x.path = t, message.RawPath(r)
	if refused := f.live.add(x, r); refused != nil {
		return refused
	}
	if refused := checks.PlainMethod(r.Method); refused != nil {
		return refused
	}
	if x.policy.Intercept.MatchHost(t.Host) {
		return refuse.New(http.StatusForbidden, "plain_http_refused", "http_request_denied",
			"http://%s would send the request in clear text; use https://, which the proxy intercepts and signs", t.Host)
	}
	if refused := x.policy.checkOther(x.profile, t); refused != nil {
		return refused
	}
	if refused := x.checkRate(); refused != nil {
		return refused
	}
	return x.decide(audit.VerdictPlain, nil)
}

func plainTarget(r *http.Request) (hosts.Target, *refuse.Refusal) {
	if refused := checks.RequestLine(r.Method, r.RequestURI); refused != nil {
		return hosts.Target{}, refused
	}
	switch {
	case r.URL.Scheme == "https":
		return hosts.Target{}, refuse.New(http.StatusBadRequest, "https_without_connect", "http_request_error",
			"https:// goes through the proxy by CONNECT, so that it is encrypted on the way")
	case r.URL.Scheme != "http":
		return hosts.Target{}, refuse.New(http.StatusBadRequest, "bad_scheme", "http_request_error", "the proxy does not speak %q", checks.Shortened(r.URL.Scheme, checks.MaxMethod))
	case r.URL.User != nil:
		return hosts.Target{}, refuse.New(http.StatusBadRequest, "bad_target", "http_request_error", "a URL with a user name is not forwarded")
	}
	authority := r.URL.Host
	if r.URL.Port() == "" && !strings.HasSuffix(authority, ":") {
		authority += ":80"
	}
	t, err := hosts.ParseTarget(authority)
	if err != nil {
		return hosts.Target{}, failure.Target(err)
	}
	return t, nil
}
