package proxy

import (
	"time"

	"github.com/agentproxy/agentproxy/proxy/hosts"
)

// Outcome is how an exchange ended, for metrics and for those who watch. Like a
// [Decision] it holds no credential, no query, no header and no body. Host,
// Client and Reason are the client's words or hold some.
type Outcome struct {
	Kind   string // as the access log names it
	Time   time.Time
	Client string // the session label
	Host   string // host:port; "" if the request was refused before that was known
	// Pattern is the one of Config.Intercept that the host matched, "" for other
	// hosts.
	Pattern string
	// Status is that of the answer, 0 if there was none.
	Status int
	// Signer names who authorised the request, in the words of the
	// configuration, "" if it was refused.
	Signer string
	// Resent says that the request was sent again with another credential,
	// because the server had answered the first one with 401.
	Resent bool
	// Refused and Reason are the code and the message of a refusal by the proxy.
	Refused, Reason string
	// OutOfScope is set if the request was out of scope, be it refused or sent all the
	// same.
	OutOfScope *OutOfScope
	// Failure says why an exchange that had begun did not come to its end.
	Failure string
	// FirstByte is the time to the answer's header, Duration that to its end.
	FirstByte, Duration time.Duration
}

func (x *exchange) outcome() Outcome {
	o := Outcome{
		Kind: x.kind, Time: x.started, Client: x.label, Pattern: x.pattern, Status: x.status,
		Resent: x.retried, OutOfScope: x.outOfScope, Failure: x.failure, FirstByte: x.firstByte, Duration: time.Since(x.started),
	}
	if x.target != (hosts.Target{}) {
		o.Host = x.target.Authority()
	}
	if x.auth != nil {
		o.Signer = x.auth.Signer
	}
	if x.refused != nil && !x.refused.Challenge {
		o.Refused, o.Reason = x.refused.Code, x.refused.Message
	}
	return o
}
