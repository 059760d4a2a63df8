package proxy

import (
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/http/httpguts"

	"github.com/agentproxy/agentproxy/internal/localguard"
	"github.com/agentproxy/agentproxy/proxy/hosts"
	"github.com/agentproxy/agentproxy/proxy/internal/refuse"
	"github.com/agentproxy/agentproxy/signer"
)

// checkProxyForm refuses a request that is not sent as to a proxy, which is all that
// a web page can have a browser send here. It comes before every other check, and
// its refusal is the same whatever the proxy's state is.
func checkProxyForm(r *http.Request) *refuse.Refusal {
	if r.Method == http.MethodConnect || r.URL.IsAbs() {
		return nil
	}
	// Without a proxy error: the request is not one to a proxy. A page that has made
	// its own name lead here reads the answer, and others can measure it.
	if _, known := localguard.HostAddr(r); !known || localguard.FromBrowser(r.Header) {
		return refuse.New(http.StatusBadRequest, "bad_request", "", "bad request")
	}
	return refuse.New(http.StatusBadRequest, "not_a_proxy_request", "",
		"this is a proxy, not a web server: set HTTPS_PROXY to this address")
}

// checkAuthority refuses a request inside a tunnel that names another authority
// than the one that the tunnel was opened to. The credential is for that authority
// alone, and a server that is asked in another's name might hand the request on
// (RFC 9110, sections 7.4 and 15.5.20).
func checkAuthority(t hosts.Target, r *http.Request) *refuse.Refusal {
	if !t.Names(r.Host, "443") {
		return refuseAuthority(t, r.Host)
	}
	if r.URL.IsAbs() && (r.URL.Scheme != "https" || r.URL.User != nil || !t.Names(r.URL.Host, "443")) {
		return refuseAuthority(t, r.URL.Scheme+"://"+r.URL.Host)
	}
	// HTTP/2 may carry Host besides :authority (RFC 9113, section 8.3.1).
	for _, host := range r.Header["Host"] {
		if !t.Names(host, "443") {
			return refuseAuthority(t, host)
		}
	}
	if name := r.TLS.ServerName; name != "" && !hosts.EqualFold(name, t.Host) {
		return refuseAuthority(t, "TLS server name "+name)
	}
	return nil
}

func refuseAuthority(t hosts.Target, named string) *refuse.Refusal {
	// What precedes an "@" may be a password.
	named = named[strings.LastIndexByte(named, '@')+1:]
	return refuse.New(http.StatusMisdirectedRequest, "misdirected_request", "http_request_denied",
		"this tunnel leads to %s, but the request names %q; open another tunnel for it", t.Authority(), shortened(named, maxNameShown))
}

// The bytes that are written down of what a client has sent, in logs and in messages.
const (
	maxMethodShown = 32
	maxNameShown   = 256 // of an authority
	maxPathShown   = 1024
)

// shortened returns at most the first most bytes of what a client has sent.
func shortened(s string, most int) string {
	if len(s) <= most {
		return s
	}
	for most > 0 && !utf8.RuneStart(s[most]) {
		most--
	}
	return s[:most] + "…"
}

// checkWellFormed refuses a request that HTTP/2 can carry, and net/http accepts,
// but that would be another request in HTTP/1.1, or none.
func checkWellFormed(r *http.Request) *refuse.Refusal {
	if refused := checkRequestLine(r.Method, r.RequestURI); refused != nil {
		return refused
	}
	if protocol := r.Header.Get("Upgrade"); isUpgrade(r) && !printable(protocol) {
		return refuseMalformed("Upgrade names no protocol, but has a character that is not printable ASCII")
	}
	// Over HTTP/1 net/http has checked it.
	lengths := r.Header["Content-Length"]
	if r.ProtoMajor != 2 || lengths == nil {
		return nil
	}
	n, err := strconv.ParseUint(lengths[0], 10, 63)
	if len(lengths) > 1 || err != nil || int64(n) != r.ContentLength {
		return refuseMalformed("Content-Length is not the length of the body")
	}
	return nil
}

func checkRequestLine(method, uri string) *refuse.Refusal {
	if !httpguts.ValidHeaderFieldName(method) { // which is a token too
		return refuseMalformed("method %q is not a word", shortened(method, maxMethodShown))
	}
	// RFC 9112, section 3.2.4. Some servers take it for the root.
	if uri == "*" && method != http.MethodOptions {
		return refuseMalformed("the target * is for OPTIONS alone")
	}
	for i := range len(uri) {
		switch c := uri[i]; {
		case c <= ' ', c == 0x7f:
			return refuseMalformed("the path has a space or a control character in it; write it as %%%02X", c)
		case c == '#': // RFC 9112, section 3.2: no form of a target has a fragment
			refused := refuseMalformed("the request's target has a fragment (#), which is for the client alone; leave it out, or write # as %%23")
			refused.Closes = true // as after any request that is none
			return refused
		}
	}
	return nil
}

// printable reports whether s is printable ASCII.
func printable(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' {
			return false
		}
	}
	return true
}

func refuseMalformed(format string, args ...any) *refuse.Refusal {
	return refuse.New(http.StatusBadRequest, "malformed_request", "http_request_error", format, args...)
}

// checkMethod refuses the methods that nothing is signed for: TRACE and TRACK, whose
// responses send the credential back; CONNECT, which makes a tunnel; and those that
// neither RFC 9110 nor RFC 5789 defines.
func checkMethod(method string) *refuse.Refusal {
	if signer.KnownMethod(method) {
		return nil
	}
	methods := strings.Join(signer.Methods(), ", ")
	refused := refuse.New(http.StatusMethodNotAllowed, "method_not_allowed", "http_request_denied",
		"requests with the method %s are not signed; use %s", quotePath(shortened(method, maxMethodShown)), methods)
	refused.Allow = methods
	return refused
}

// checkPlainMethod refuses, for a request that is sent on without being signed, the
// methods that only show what a proxy puts on it.
func checkPlainMethod(method string) *refuse.Refusal {
	switch method {
	case http.MethodTrace, "TRACK":
		return checkMethod(method)
	}
	return nil
}

// checkSite refuses a request that a browser sends for a web page of another site:
// the page must not act as the agent because the browser's traffic passes through
// the proxy. Sites that share a domain with the backend are other sites, for their
// names may dangle.
func (p *profile) checkSite(f *facts) *refuse.Refusal {
	own := func(origin string) bool {
		host, ok := strings.CutPrefix(origin, "https://")
		return ok && (f.target.Names(host, "443") || p.scope.IsBackend(host))
	}
	field, _ := localguard.ForeignPage(f.asked.origins, f.asked.fetchSite, own)
	if field == "" {
		return nil
	}
	return refuse.New(http.StatusForbidden, "cross_site", "http_request_denied",
		"a web page of another site sent this request to %s, as %s says, so it is not signed; send it from a page of %[1]s, or not from a web page",
		f.target.Authority(), field)
}
