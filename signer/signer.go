// Package signer decides whether a request to ChatGPT may carry a credential, and which.
//
// A [Scope] decides on the kind of credential by the request's host, method and path. A
// [Signer] returns the credential as an [Authorization], or an [*Error] that says why there
// is none and what to do about it. [AgentAssertion], [Bearer], [Token] and [Command] make
// credentials; [Auto], [Rules] and [Bootstrap] choose between signers. A [Renewer] replaces
// a credential that a server has refused.
//
// The package knows nothing of proxying. The same signers serve a proxy, a command line and
// a gateway that asks what to put on a request.
package signer

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/agentproxy/agentproxy/identity"
)

// Request is what a signer may know of the request that it authorises. It has no header and
// no body, so that no client can talk a signer into something.
type Request struct {
	Host   string // the authority's host, lower case, without port
	Method string
	Path   string // the path as it was sent, still percent-encoded, without query
	Kind   Kind   // which credential the request is to carry, by its scope
	Label  string // the client's session label; "" is the proxy as a whole
	// RefusedAt is when a server refused the request, by the server's clock. It is zero
	// if none has, or if the answer does not say.
	RefusedAt time.Time
}

// Scheme is the kind of credential in an [Authorization].
type Scheme string

// The schemes, which logs name.
const (
	SchemeAssertion Scheme = "AgentAssertion"
	SchemeBearer    Scheme = "Bearer"
	SchemeOther     Scheme = "other" // a command's own header
	SchemeNone      Scheme = "none"  // no credential of ours
)

// Authorization is the answer of a signer. Requests share it, and callers must not change
// it.
type Authorization struct {
	// Value is the value of the Authorization header. "" puts no credential on the
	// request.
	Value identity.Secret
	// Scheme is the kind of credential in Value.
	Scheme Scheme
	// AccountID is the value of ChatGPT-Account-ID, "" for none. Beside an assertion it is
	// set for identities of the second generation alone.
	AccountID string
	// FedRAMP asks for X-OpenAI-Fedramp: true.
	FedRAMP bool
	// PassThrough leaves the client's own credential as it came.
	PassThrough bool
	// TaskID is the task that an assertion was made for.
	TaskID string
	// Signer is the name of the signer in the configuration: agent-assertion, bearer,
	// command, token or none.
	Signer string

	task     identity.Task
	offset   time.Duration // of the clock that an assertion was made by
	accepted *atomic.Int64 // when a server last took one for the task, in seconds since 1970
}

// SetHeader sets the fields of h that carry the credential. Those that the credential
// does without stay as they are: the caller removes the client's own first.
func (a *Authorization) SetHeader(h http.Header) {
	if a.Value == "" {
		return
	}
	h["Authorization"] = []string{a.Value.Reveal()}
	if a.AccountID != "" {
		h["Chatgpt-Account-Id"] = []string{a.AccountID}
	}
	if a.FedRAMP {
		h["X-Openai-Fedramp"] = []string{"true"}
	}
}

// Header returns a header with the fields that carry the credential.
func (a *Authorization) Header() http.Header {
	h := make(http.Header)
	a.SetHeader(h)
	return h
}

// Accepted notes that a server has taken the credential.
func (a *Authorization) Accepted(at time.Time) {
	if a.accepted != nil {
		a.accepted.Store(at.Unix())
	}
}

// Signer authorises requests. Implementations are safe for concurrent use and
// return an [*Error] where a request cannot be authorised.
type Signer interface {
	Sign(ctx context.Context, r Request) (*Authorization, error)
}

// Renewer is a [Signer] that can replace a credential that a server has refused.
type Renewer interface {
	Signer
	// Renew returns another authorization for a request that was refused with 401
	// although it carried the one in refused. The error says why there is none.
	Renew(ctx context.Context, r Request, refused *Authorization) (*Authorization, error)
}

// renew calls Renew of s, if it is a [Renewer].
func renew(ctx context.Context, s Signer, r Request, refused *Authorization) (*Authorization, error) {
	if renewer, ok := s.(Renewer); ok {
		return renewer.Renew(ctx, r, refused)
	}
	return nil, errNotRenewable
}

var errNotRenewable = errors.New("the credential that was refused cannot be renewed")

// IsPlaceholder reports whether the value of an Authorization header field is one of
// agentproxy's placeholders, which a client holds instead of a credential. No such value
// may ever be sent to a server.
func IsPlaceholder(authorization string) bool {
	return identity.IsPlaceholder(trimScheme(authorization))
}

// None is the signer of requests that are sent without any credential.
type None struct{}

var _ Signer = None{}

// Sign implements [Signer].
func (None) Sign(context.Context, Request) (*Authorization, error) { return none, nil }

// Client is the signer of requests that are sent with the client's own credential.
type Client struct{}

var _ Signer = Client{}

// Sign implements [Signer].
func (Client) Sign(context.Context, Request) (*Authorization, error) { return passThrough, nil }

// The answers without a credential of ours.
var (
	passThrough = &Authorization{Scheme: SchemeNone, PassThrough: true, Signer: "none"}
	none        = &Authorization{Scheme: SchemeNone, Signer: "none"}
)

// Authorize returns what authorises a request whose kind a [Scope] has decided. It asks s
// only for requests that are to carry a credential of ours. Rules refuse others as well.
func Authorize(ctx context.Context, s Signer, r Request) (*Authorization, error) {
	if rules, ok := s.(Rules); ok {
		if _, err := rules.Find(r); err != nil {
			return nil, err
		}
	}
	switch r.Kind {
	case KindClient:
		return passThrough, nil
	case KindNone:
		return none, nil
	}
	return s.Sign(ctx, r)
}
