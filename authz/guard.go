package authz

import (
	"net/http"

	"github.com/agentproxy/agentproxy/internal/localguard"
	"github.com/agentproxy/agentproxy/proxy"
)

// TokenHeader is the field in which a gateway sends its token. It is none of the usual
// ones, because gateways send those of their clients along.
const TokenHeader = "X-Agentproxy-Token"

// admit decides who may ask. With a token configured, whoever shows it may. Without one,
// a process of the right user may, unless it could be a browser that asks for a page.
// refused is the answer to those who may not.
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
			return refuseUser(err), false
		}
	}
	return proxy.Answer{}, true
}

// refuseUser returns the refusal of a client of another user, whom err names.
func refuseUser(err error) proxy.Answer {
	return proxy.Refusal(http.StatusForbidden, "foreign_user", err.Error()+"; without a token only agentproxy's own user may ask; set authz.token")
}

// mayBeBrowser reports whether r has fields that browsers send and gateways by
// themselves do not, or is for a name that may have been made to lead here (DNS
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
