package proxy

import (
	"net/http"
	"time"

	"github.com/agentproxy/agentproxy/proxy/hosts"
	"github.com/agentproxy/agentproxy/proxy/internal/refuse"
	"github.com/agentproxy/agentproxy/signer"
)

// Verdict is what a [Decision] comes to.
type Verdict string

// The verdicts. They are words of the audit log, and do not change.
const (
	VerdictSign   Verdict = "sign"   // sent on with a credential of ours
	VerdictGrant  Verdict = "grant"  // not sent by the proxy: a gateway was given a credential for it
	VerdictPass   Verdict = "pass"   // to an intercepted host, sent on without a credential of ours
	VerdictResend Verdict = "resend" // sent again with another credential, after a 401
	VerdictPlain  Verdict = "plain"  // http:// to another host, sent on as it came
	VerdictTunnel Verdict = "tunnel" // CONNECT to another host, passed on unseen
	VerdictRefuse Verdict = "refuse" // answered by the proxy itself
)

// Decision is what the audit log says of a request: who asked for what, what was
// put on it, or why it was refused. It never holds a credential, a query, a
// header or a body.
type Decision struct {
	Time    time.Time
	Verdict Verdict
	Client  string // the session label that the client was admitted with
	Profile string // that the label has; "" is none of its own
	Peer    string // the address that it came from
	Host    string // host:port; "" if the request was refused before that was known
	Method  string
	Path    string // as it was sent, without query
	// Scheme, Task and Signer say what was injected: its kind, the task that it
	// was made for, and by whom.
	Scheme signer.Scheme
	Task   string
	Signer string
	// Refused is the code of a refusal.
	Refused string
	// OutOfScope says why the request is out of scope, be it refused or not.
	OutOfScope signer.Reason
}

// Auditor is told of every decision before it is carried out.
type Auditor interface {
	// Audit records d. An error means that d could not be recorded and therefore
	// must not be carried out: the request is not sent.
	Audit(d Decision) error
}

// decide tells the auditor what is to be done with the exchange, auth being
// what is to be injected. If it returns a refusal, that must be done instead.
func (x *exchange) decide(verdict Verdict, auth *signer.Authorization) *refuse.Refusal {
	if x.auditor == nil {
		return nil
	}
	d := Decision{
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
	_ = x.decide(VerdictRefuse, nil)
}

// verdictOn is what is decided on the exchange's request, to an intercepted host,
// by authorising it.
func (x *exchange) verdictOn(auth *signer.Authorization) Verdict {
	switch {
	case auth.Value == "":
		return VerdictPass
	case x.kind == KindAsk:
		return VerdictGrant
	}
	return VerdictSign
}
