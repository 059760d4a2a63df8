package proxy

import (
	"net/http"

	"github.com/agentproxy/agentproxy/internal/localguard"

	"github.com/agentproxy/agentproxy/proxy/internal/refuse"
)

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
