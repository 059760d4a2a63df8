package audit

import (
	"time"

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
	// Times, if not 0, says that there were so many refusals with this code, of clients
	// that were not let in.
	Times int
	// OutOfScope says why the request is out of scope, be it refused or not.
	OutOfScope signer.Reason
}

// Auditor is told of every decision before it is carried out.
type Auditor interface {
	// Audit records d. An error means that d could not be recorded and therefore
	// must not be carried out: the request is not sent.
	Audit(d Decision) error
}
