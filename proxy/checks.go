package proxy

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/agentproxy/agentproxy/internal/localguard"
	"github.com/agentproxy/agentproxy/proxy/hosts"
	"github.com/agentproxy/agentproxy/proxy/internal/refuse"
	"github.com/agentproxy/agentproxy/signer"
	"golang.org/x/net/http/httpguts"
)

// checkAuthority refuses a request inside a tunnel that names another
// authority than the one the tunnel was opened to. The credential is for that
// authority alone, and a server that is asked in somebody else's name might
// hand the request on (RFC 9110, 7.4 and 15.5.20).
func checkAuthority(t hosts.Target, r *http.Request) *refuse.Refusal {
	if !t.Names(r.Host, "443") {
		return refuseAuthority(t, r.Host)
	}
	if r.URL.IsAbs() && (r.URL.Scheme != "https" || r.URL.User != nil || !t.Names(r.URL.Host, "443")) {
		return refuseAuthority(t, r.URL.Scheme+"://"+r.URL.Host)
	}
	// HTTP/2 may carry a Host besides :authority (RFC 9113, 8.3.1).
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
	// What stands before an "@" may be a password.
	named = named[strings.LastIndexByte(named, '@')+1:]
	const most = 256
	if len(named) > most {
		named = named[:most] + "…"
	}
	return refuse.New(http.StatusMisdirectedRequest, "misdirected_request", "http_request_denied",
		"this tunnel leads to %s, but the request names %q; open a tunnel of its own for it", t.Authority(), named)
}

// checkWellFormed refuses a request that HTTP/2 can carry, and net/http lets
// pass, but that would be another request in HTTP/1.1, or none.
func checkWellFormed(r *http.Request) *refuse.Refusal {
	if refused := checkRequestLine(r.Method, r.RequestURI); refused != nil {
		return refused
	}
	if protocol := r.Header.Get("Upgrade"); isUpgrade(r) && !printable(protocol) {
		return refuseMalformed("Upgrade names %q, which is no protocol", protocol)
	}
	// Over HTTP/1 net/http has checked it.
	lengths := r.Header["Content-Length"]
	if r.ProtoMajor != 2 || lengths == nil {
		return nil
	}
	n, err := strconv.ParseUint(lengths[0], 10, 63)
	if len(lengths) > 1 || err != nil || int64(n) != r.ContentLength {
		return refuseMalformed("Content-Length %q is not the length of the body", lengths)
	}
	return nil
}

func checkRequestLine(method, uri string) *refuse.Refusal {
	if !httpguts.ValidHeaderFieldName(method) { // which is a token too
		return refuseMalformed("method %q is not a word", method)
	}
	for i := range len(uri) {
		if c := uri[i]; c <= ' ' || c == 0x7f {
			return refuseMalformed("the path has a space or a control character in it; write it as %%%02X", c)
		}
	}
	return nil
}

// printable reports whether s has nothing in it but printable ASCII.
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

// checkMethod refuses methods that nothing is signed for: TRACE and TRACK, which
// send the credential back; CONNECT, which makes a tunnel of its own; and what RFC
// 9110 and RFC 5789 do not know, which servers take for whatever they like.
func checkMethod(method string) *refuse.Refusal {
	if signer.KnownMethod(method) {
		return nil
	}
	methods := strings.Join(signer.Methods(), ", ")
	refused := refuse.New(http.StatusMethodNotAllowed, "method_not_allowed", "http_request_denied",
		"requests with the method %s are not signed; use %s", quotePath(method), methods)
	refused.Allow = methods
	return refused
}

// checkPlainMethod refuses, for a request that is sent on without being signed,
// methods that only serve to see what a proxy puts on it.
func checkPlainMethod(method string) *refuse.Refusal {
	switch method {
	case http.MethodTrace, "TRACK":
		return checkMethod(method)
	}
	return nil
}

// refuseOriginForm refuses what is not sent as to a proxy: all that a web page
// can have a browser send here. It comes before every other decision, and says
// the same whatever the proxy's state is.
func refuseOriginForm(r *http.Request) *refuse.Refusal {
	if r.Method == http.MethodConnect || r.URL.IsAbs() {
		return nil
	}
	// No proxy error: it is not as a proxy that the request is answered.
	if mayBeOfPage(r) {
		return refuse.New(http.StatusBadRequest, "bad_request", "", "bad request")
	}
	return refuse.New(http.StatusBadRequest, "not_a_proxy_request", "",
		"this is a proxy, not a web server: set HTTPS_PROXY to this address")
}

// mayBeOfPage reports whether a page could have had its browser send r. Where
// the page reads the answer, its own name was made to lead here (DNS
// rebinding): then the name is in the Host header. Where it cannot, but measures
// what it gets, the browser tells of the page.
func mayBeOfPage(r *http.Request) bool {
	if localguard.FromBrowser(r.Header) {
		return true
	}
	_, ok := localguard.HostAddr(r)
	return !ok
}

// checkSite refuses a request that a web page of another site had its browser
// send: the page must not act as the agent because the browser's traffic passes
// through the proxy. Browsers tell of the page in Origin (RFC 6454, section 7) and
// Sec-Fetch-Site (W3C Fetch Metadata). Sites that share a domain with the backend
// count as foreign, for their names may dangle.
func (x *exchange) checkSite() *refuse.Refusal {
	if field, value := localguard.ForeignPage(x.asked.origins, x.asked.fetchSite, x.isOwnOrigin); field != "" {
		return x.refuseSite(field, value)
	}
	return nil
}

// isOwnOrigin reports whether an Origin is the target's own, or the backend's.
func (x *exchange) isOwnOrigin(origin string) bool {
	host, ok := strings.CutPrefix(origin, "https://")
	return ok && (x.target.Names(host, "443") || x.profile.scope.IsBackend(host))
}

func (x *exchange) refuseSite(header, value string) *refuse.Refusal {
	const most = 256
	if len(value) > most {
		value = value[:most] + "…"
	}
	return refuse.New(http.StatusForbidden, "cross_site", "http_request_denied",
		"a web page of another site had this request to %s sent (%s: %s), so it is not signed; send it from a page of %[1]s, or from no page", x.target.Authority(), header, quotePath(value))
}
