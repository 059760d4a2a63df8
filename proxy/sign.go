package proxy

import (
	"context"
	"net/http"
	"time"

	"github.com/agentproxy/agentproxy/proxy/access/ratelimit"
	"github.com/agentproxy/agentproxy/proxy/audit"
	"github.com/agentproxy/agentproxy/proxy/hosts"
	"github.com/agentproxy/agentproxy/proxy/internal/checks"
	"github.com/agentproxy/agentproxy/proxy/internal/failure"
	"github.com/agentproxy/agentproxy/proxy/internal/netconn"
	"github.com/agentproxy/agentproxy/proxy/internal/refuse"
	"github.com/agentproxy/agentproxy/signer"
)

// grant decides what authorises the exchange's request and sets x.auth. Every
// credential that leaves the proxy, on a request that it sends itself or to a
// gateway that asks for one, is decided on here: the target is one of chatgpt.hosts
// and of the hosts of the label's profile, no web page of another site had the
// request sent, it is in the profile's scope, the profile's signer has answered, and
// the decision is recorded.
func (x *exchange) grant(ctx context.Context) (refused *refuse.Refusal) {
	if refused = x.checkSigned(); refused != nil {
		return refused
	}
	if refused = x.profile.checkSite(&x.facts); refused != nil {
		return refused
	}
	if x.credential, x.outOfScope, refused = x.profile.checkScope(ctx, &x.facts); refused != nil {
		return refused
	}
	if refused = x.checkRate(); refused != nil {
		return refused
	}
	auth, err := signer.Authorize(ctx, x.profile.Signer, x.signRequest())
	if err != nil {
		return failure.Unsigned(err)
	}
	verdict := audit.VerdictSign
	switch {
	case auth.Value == "":
		verdict = audit.VerdictPass
	case x.kind == KindAsk:
		verdict = audit.VerdictGrant
	}
	if refused = x.decide(verdict, auth); refused != nil {
		return refused
	}
	x.auth = auth
	return nil
}

// checkSigned refuses an exchange whose target is not signed for, to anybody or to
// clients of its label. It sets the exchange's profile.
func (x *exchange) checkSigned() (refused *refuse.Refusal) {
	if !x.policy.Intercept.Match(x.target.Host, x.target.Port) {
		return failure.NotIntercepted(x.target)
	}
	if x.profile, refused = x.policy.profileOf(x.label); refused != nil {
		return refused
	}
	return x.profile.checkHost(x.target)
}

// checkRate counts the exchange among the requests of its label and its profile, and among
// their streams if it may be one. What a gateway sends itself ends unseen.
func (x *exchange) checkRate() (refused *refuse.Refusal) {
	who := ratelimit.Client{Label: x.label, Profile: x.profile.Name}
	if refused = x.policy.rates.Request(who, &x.profile.Rates); refused != nil {
		return refused
	}
	if x.kind == KindRequest && (x.credential == signer.KindInference || x.asked.upgrade != "") {
		x.endStream, refused = x.policy.rates.Stream(who, &x.profile.Rates)
	}
	return refused
}

// signRequest returns the exchange's request as signers see it.
func (x *exchange) signRequest() signer.Request {
	return signer.Request{Host: x.target.Host, Method: x.method, Path: x.path, Kind: x.credential, Label: x.label}
}

// decide records what is about to be done with the exchange, auth being what
// authorises it. If that fails it returns the refusal that must be done instead.
func (x *exchange) decide(verdict audit.Verdict, auth *signer.Authorization) *refuse.Refusal {
	if x.policy.Audit == nil {
		return nil
	}
	d := audit.Decision{
		Time: time.Now(), Verdict: verdict, Client: x.label, Peer: x.peer,
		Method: checks.Shortened(x.method, checks.MaxMethod), Path: checks.Shortened(x.path, checks.MaxPath),
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
	if refused := x.refused.Load(); refused != nil {
		d.Refused = refused.Code
	}
	if x.outOfScope != nil {
		d.OutOfScope = x.outOfScope.Reason
	}
	if file, ok := x.policy.Audit.(interface{ Waits() bool }); ok && file.Waits() {
		x.turn.End()
		netconn.EndTurn(x.client)
	}
	if err := x.policy.Audit.Audit(d); err != nil {
		return refuse.New(http.StatusServiceUnavailable, "audit_failed", "proxy_internal_error",
			"the request was not sent, because the audit log cannot be written: %s", err)
	}
	return nil
}

// refuseWith notes for the logs that the exchange is refused with r. A refusal that
// cannot be recorded stands: nothing is sent on.
func (x *exchange) refuseWith(r *refuse.Refusal) {
	x.refused.Store(r)
	if x.unlogged = !x.strangers.firstOf(x, r); !x.unlogged {
		_ = x.decide(audit.VerdictRefuse, nil)
	}
}
