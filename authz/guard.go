package authz

import (
	"net/http"

	"github.com/agentproxy/agentproxy/internal/localguard"
	"github.com/agentproxy/agentproxy/proxy"
)

// TokenHeader is the header that a gateway shows its token in. It is none of the
// usual ones, for gateways send those of their clients along.
const TokenHeader = "X-Agentproxy-Token"

// admit turns away who may not ask. A token lets in whoever shows it. Without
// one a process of the right user is let in, unless it may be a browser that
// asks for a page. The answer is to whoever is turned away.
func (c Config) admit(r *http.Request) (refused proxy.Answer, ok bool) {
	if c.Token != "" {
		shown := r.Header[TokenHeader]
		if len(shown) != 1 {
			return proxy.Refusal(http.StatusForbidden, "authz_token_required", "the gateway must send authz.token once, in the header "+TokenHeader), false
		}
		if !localguard.TokenIs(shown[0], c.Token) {
			return proxy.Refusal(http.StatusForbidden, "authz_token_required", "the token in the header "+TokenHeader+" is not authz.token"), false
		}
		return proxy.Answer{}, true
	}
	if mayBeBrowser(r) {
		return proxy.Refusal(http.StatusForbidden, "authz_browser", "without authz.token nothing is answered that a web page could have asked; set a token"), false
	}
	if c.Users != nil {
		if err := c.Users.Check(r.Context()); err != nil {
			return proxy.Refusal(http.StatusForbidden, "foreign_user", err.Error()+", and without a token agentproxy's own user only may ask; set authz.token"), false
		}
	}
	return proxy.Answer{}, true
}

// mayBeBrowser reports whether r has what browsers send and gateways on their
// own account do not, or is for a name that may have been made to lead here (DNS
// rebinding).
func mayBeBrowser(r *http.Request) bool {
	if localguard.OverUnixSocket(r) {
		return false
	}
	if localguard.FromBrowser(r.Header) {
		return true
	}
	addr, ok := localguard.HostAddr(r)
	return !ok || !addr.IsLoopback()
}
