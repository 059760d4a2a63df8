// Package audit has the decisions of the proxy, and the file that they are recorded in.
// A decision is recorded before it is carried out.
package audit

import (
	"time"

	"github.com/agentproxy/agentproxy/signer"
)

// Verdict is what is done with a request.
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

// Decision is what the audit log says of a request: who asked for what, and what was put on
// it or why it was refused. It holds no credential, no query, no header field and no body.
type Decision struct {
	Time    time.Time `json:"-"`
	Verdict Verdict   `json:"decision"`
	Client  string    `json:"client,omitempty"`  // the session label that the client was admitted with
	Profile string    `json:"profile,omitempty"` // of the label; "" is none of its own
	Peer    string    `json:"peer,omitempty"`    // the address that the client connected from
	Host    string    `json:"host,omitempty"`    // host:port; "" if the request was refused before that was known
	Method  string    `json:"method,omitempty"`
	Path    string    `json:"path,omitempty"` // as it was sent, without query
	// Scheme, Task and Signer say what was put on the request: the kind of credential, the
	// task that it was made for, and who made it.
	Scheme signer.Scheme `json:"credential,omitempty"`
	Task   string        `json:"task,omitempty"`
	Signer string        `json:"signer,omitempty"`
	// Refused is the code of a refusal.
	Refused string `json:"refused,omitempty"`
	// Times, if not 0, says that there were so many refusals with this code, of clients
	// that were not let in.
	Times int `json:"times,omitempty"`
	// OutOfScope says why the request is out of scope, whether it was refused or not.
	OutOfScope signer.Reason `json:"out_of_scope,omitempty"`
}

// Auditor records decisions. It may have a method Waits as [File] has.
type Auditor interface {
	// Audit records d. If it returns an error, d was not recorded and must not be carried
	// out: the request is not sent.
	Audit(d Decision) error
}
