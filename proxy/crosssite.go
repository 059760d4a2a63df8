package proxy

import (
	"net/http"
	"strings"

	"github.com/agentproxy/agentproxy/internal/localguard"
	"github.com/agentproxy/agentproxy/proxy/internal/refuse"
)

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
