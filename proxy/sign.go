package proxy

import (
	"context"
	"net/http"
	"time"

	"github.com/agentproxy/agentproxy/proxy/audit"
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

// decide tells the auditor what is to be done with the exchange, auth being
// what is to be injected. If it returns a refusal, that must be done instead.
func (x *exchange) decide(verdict audit.Verdict, auth *signer.Authorization) *refuse.Refusal {
	if x.auditor == nil {
		return nil
	}
	d := audit.Decision{
		Time: time.Now(), Verdict: verdict, Client: x.label, Peer: x.peer, Method: x.method, Path: x.path,
	}
	if x.profile != nil {
		d.Profile = x.profile.Name
	}
	if x.target != (hosts.Target{}) {
		d.Host = x.target.Authority()
	}
	if auth != nil {
		d.Scheme, d.Task, d.Signer = auth.Scheme, auth.TaskID, auth.Signer
	}
	if x.refused != nil {
		d.Refused = x.refused.Code
	}
	if x.outOfScope != nil {
		d.OutOfScope = x.outOfScope.Reason
	}
	if err := x.auditor.Audit(d); err != nil {
		return refuse.New(http.StatusServiceUnavailable, "audit_failed", "proxy_internal_error",
			"the request was not sent, because the audit log cannot be written: %s", err)
	}
	return nil
}

// refuseWith notes that the exchange is refused, for the logs. A refusal that
// cannot be audited stands all the same: nothing is sent on.
func (x *exchange) refuseWith(r *refuse.Refusal) {
	x.refused = r
	_ = x.decide(audit.VerdictRefuse, nil)
}

// verdictOn is what is decided on the exchange's request, to an intercepted host,
// by authorising it.
func (x *exchange) verdictOn(auth *signer.Authorization) audit.Verdict {
	switch {
	case auth.Value == "":
		return audit.VerdictPass
	case x.kind == KindAsk:
		return audit.VerdictGrant
	}
	return audit.VerdictSign
}
