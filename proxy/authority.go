package proxy

import (
	"net/http"
	"strings"

	"github.com/agentproxy/agentproxy/proxy/hosts"
	"github.com/agentproxy/agentproxy/proxy/internal/refuse"
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
