package proxy

import (
	"context"
	"net/http"

	"github.com/agentproxy/agentproxy/proxy/hosts"
	"github.com/agentproxy/agentproxy/proxy/internal/refuse"
	"github.com/agentproxy/agentproxy/signer"
)

// grant decides what authorises the exchange's request, and notes it in x.auth.
// Every credential that leaves the proxy, on a request that it sends itself or to
// a gateway that asks for one, was decided here: the target is one of
// chatgpt.hosts and of the hosts of the label's profile, no web page of another site
// has had the request sent, it is in the profile's scope, the profile's signer has
// answered, and the decision is recorded.
func (x *exchange) grant(ctx context.Context) *refuse.Refusal {
	if refused := x.checkSigned(); refused != nil {
		return refused
	}
	if refused := x.checkSite(); refused != nil {
		return refused
	}
	if refused := x.checkScope(ctx); refused != nil {
		return refused
	}
	auth, err := signer.Authorize(ctx, x.profile.Signer, signRequest(x))
	if err != nil {
		return refuseUnsigned(err)
	}
	if refused := x.decide(x.verdictOn(auth), auth); refused != nil {
		return refused
	}
	x.auth = auth
	return nil
}

// checkSigned refuses an exchange whose target is not signed for, to anybody or
// to clients of its label.
func (x *exchange) checkSigned() *refuse.Refusal {
	if !x.policy.Intercept.Match(x.target.Host, x.target.Port) {
		return refuseNotIntercepted(x.target)
	}
	if refused := x.choose(); refused != nil {
		return refused
	}
	return x.profile.checkHost(x.target)
}

func refuseNotIntercepted(t hosts.Target) *refuse.Refusal {
	return refuse.New(http.StatusForbidden, "host_refused", "http_request_denied",
		"%s is not among chatgpt.hosts, so nothing is signed for it", t.Authority())
}
