// Package checks finds out whether a request is one request, to a proxy, and for the server
// that its tunnel leads to.
package checks

import (
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/http/httpguts"

	"github.com/agentproxy/agentproxy/internal/localguard"
	"github.com/agentproxy/agentproxy/proxy/hosts"
	"github.com/agentproxy/agentproxy/proxy/internal/message"
	"github.com/agentproxy/agentproxy/proxy/internal/refuse"
	"github.com/agentproxy/agentproxy/signer"
)

// ProxyForm refuses a request that is not sent as to a proxy, which is all that
// a web page can have a browser send here. It comes before every other check, and
// its refusal is the same whatever the proxy's state is.
func ProxyForm(r *http.Request) *refuse.Refusal {
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

// Authority refuses a request inside a tunnel that names another authority
// than the one that the tunnel was opened to. The credential is for that authority
// alone, and a server that is asked in another's name might hand the request on
// (RFC 9110, sections 7.4 and 15.5.20).
func Authority(t hosts.Target, r *http.Request) *refuse.Refusal {
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
		"this tunnel leads to %s, but the request names %q; open another tunnel for it", t.Authority(), Shortened(named, MaxName))
}

// The bytes that are written down of what a client has sent, in logs and in messages.
const (
	MaxMethod = 32
	MaxName   = 256 // of an authority
	MaxPath   = 1024
)

// Shortened returns at most the first most bytes of what a client has sent.
func Shortened(s string, most int) string {
	if len(s) <= most {
		return s
	}
	for most > 0 && !utf8.RuneStart(s[most]) {
		most--
	}
	return s[:most] + "…"
}

// WellFormed refuses a request that HTTP/2 can carry, and net/http accepts,
// but that would be another request in HTTP/1.1, or none.
func WellFormed(r *http.Request) *refuse.Refusal {
	if refused := RequestLine(r.Method, r.RequestURI); refused != nil {
		return refused
	}
	if protocol := r.Header.Get("Upgrade"); message.IsUpgrade(r) && !Printable(protocol) {
		return Malformed("Upgrade names no protocol, but has a character that is not printable ASCII")
	}
	// Over HTTP/1 net/http has checked it.
	lengths := r.Header["Content-Length"]
	if r.ProtoMajor != 2 || lengths == nil {
		return nil
	}
	n, err := strconv.ParseUint(lengths[0], 10, 63)
	if len(lengths) > 1 || err != nil || int64(n) != r.ContentLength {
		return Malformed("Content-Length is not the length of the body")
	}
	return nil
}

// RequestLine refuses a method that is none, and a target that servers may read in more ways
// than one.
func RequestLine(method, uri string) *refuse.Refusal {
	if !httpguts.ValidHeaderFieldName(method) { // which is a token too
		return Malformed("method %q is not a word", Shortened(method, MaxMethod))
	}
	// RFC 9112, section 3.2.4. Some servers take it for the root.
	if uri == "*" && method != http.MethodOptions {
		return Malformed("the target * is for OPTIONS alone")
	}
	for i := range len(uri) {
		switch c := uri[i]; {
		case c <= ' ', c == 0x7f:
			return Malformed("the path has a space or a control character in it; write it as %%%02X", c)
		case c == '#': // RFC 9112, section 3.2: no form of a target has a fragment
			refused := Malformed("the request's target has a fragment (#), which is for the client alone; leave it out, or write # as %%23")
			refused.Closes = true // as after any request that is none
			return refused
		}
	}
	return nil
}

// Printable reports whether s is printable ASCII.
func Printable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' })
}

// Malformed returns the refusal of a request that cannot be taken in one way alone.
func Malformed(format string, args ...any) *refuse.Refusal {
	return refuse.New(http.StatusBadRequest, "malformed_request", "http_request_error", format, args...)
}

// Method refuses the methods that nothing is signed for: TRACE and TRACK, whose
// responses send the credential back; CONNECT, which makes a tunnel; and those that
// neither RFC 9110 nor RFC 5789 defines.
func Method(method string) *refuse.Refusal {
	if signer.KnownMethod(method) {
		return nil
	}
	methods := strings.Join(signer.Methods(), ", ")
	refused := refuse.New(http.StatusMethodNotAllowed, "method_not_allowed", "http_request_denied",
		"requests with the method %s are not signed; use %s", Quoted(Shortened(method, MaxMethod)), methods)
	refused.Allow = methods
	return refused
}

// PlainMethod refuses, for a request that is sent on without being signed, the
// methods that only show what a proxy puts on it.
func PlainMethod(method string) *refuse.Refusal {
	switch method {
	case http.MethodTrace, "TRACK":
		return Method(method)
	}
	return nil
}

// Quoted returns a path as it can stand in a message of one line.
func Quoted(path string) string {
	if Printable(path) {
		return path
	}
	return strings.Trim(strconv.QuoteToGraphic(path), `"`)
}
