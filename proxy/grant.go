package proxy

import (
	"context"
	"net/http"
)

// grant decides what authorises the exchange's request, and notes it in x.auth.
// Every credential that leaves the proxy, on a request that it sends itself or to
// a gateway that asks for one, was decided here: the target is one of
// chatgpt.hosts, the signer has answered, and the decision is recorded.
func (x *exchange) grant(ctx context.Context) *refusal {
	if !x.policy.Intercept.Match(x.target.host, x.target.port) {
		return refuseNotIntercepted(x.target)
	}
	auth, err := x.policy.Signer.Sign(ctx, signRequest(x))
	if err != nil {
		return refuseUnsigned(err)
	}
	if refused := x.decide(verdictOn(auth), auth); refused != nil {
		return refused
	}
	x.auth = auth
	return nil
}

func refuseNotIntercepted(t target) *refusal {
	return refuse(http.StatusForbidden, "host_refused", "http_request_denied",
		"%s is not among chatgpt.hosts, so nothing is signed for it", t.authority())
}
