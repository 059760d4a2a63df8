// Package signer decides what authorises a request to ChatGPT.
//
// A [Signer] is asked once for every request that the proxy is about to send
// and answers with an [Authorization], or with an [*Error] that says why there
// is none and what to do about it. Nothing here knows of proxying: the same
// signers serve a proxy, a command line and a gateway's authorisation endpoint.
package signer

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/agentproxy/agentproxy/identity"
)

// Request is what a signer may know of the request that it authorises. It has
// no header and no body: whoever signs must not be able to be talked into
// something by the client.
type Request struct {
	Host   string // the authority's host, lower case, without port
	Method string
	Path   string // the path as it was sent, still percent-encoded, without query
	Kind   Kind   // which credential the request is to carry, by its scope
	Label  string // the client's session label; "" is the proxy as a whole
	// RefusedAt is when a server refused the request, by its own clock. It is zero
	// if none has, or does not say.
	RefusedAt time.Time
}

// Scheme names the kind of credential of an [Authorization].
type Scheme string

// The schemes. They are what a log says of a request.
const (
	SchemeAssertion Scheme = "AgentAssertion"
	SchemeBearer    Scheme = "Bearer"
	SchemeOther     Scheme = "other" // a command's own header
	SchemeNone      Scheme = "none"  // no credential of ours
)

// Authorization is a signer's answer. It is shared between requests and must
// not be changed by whoever receives it.
type Authorization struct {
	// Value is the value of the Authorization header. "" puts no credential on the
	// request.
	Value identity.Secret
	// Scheme is the kind of credential in Value.
	Scheme Scheme
	// AccountID is the value of ChatGPT-Account-ID, "" for none. Beside an
	// assertion it is set for identities of the second generation alone.
	AccountID string
	// FedRAMP asks for X-OpenAI-Fedramp: true.
	FedRAMP bool
	// PassThrough leaves the client's own credential as it came.
	PassThrough bool
	// TaskID is the task that an assertion was made for.
	TaskID string
	// Signer names the signer that has answered, in the words of the
	// configuration: agent-assertion, bearer, command, token or none.
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

// Renewer is a [Signer] that can do something about a credential which a server
// has refused.
type Renewer interface {
	Signer
	// Renew returns another authorisation for a request that was refused with
	// 401 although it bore the given one. The error says why there is none.
	Renew(ctx context.Context, r Request, refused *Authorization) (*Authorization, error)
}

// renew renews with s, if it can.
func renew(ctx context.Context, s Signer, r Request, refused *Authorization) (*Authorization, error) {
	if renewer, ok := s.(Renewer); ok {
		return renewer.Renew(ctx, r, refused)
	}
	return nil, errNotRenewable
}

var errNotRenewable = errors.New("the credential that was refused cannot be renewed")

// IsPlaceholder reports whether the value of an Authorization header is a
// placeholder of ours: what a client is given to hold instead of a credential.
// No such value may ever be sent to a server.
func IsPlaceholder(authorization string) bool {
	return identity.IsPlaceholder(trimScheme(authorization))
}

// None is the signer that has requests sent without any credential.
type None struct{}

var _ Signer = None{}

// Sign implements [Signer].
func (None) Sign(context.Context, Request) (*Authorization, error) { return without, nil }

// Client is the signer that leaves requests as the client sent them.
type Client struct{}

var _ Signer = Client{}

// Sign implements [Signer].
func (Client) Sign(context.Context, Request) (*Authorization, error) { return keep, nil }

// The answers that have no credential of ours: the client's own stay, or none.
var (
	keep    = &Authorization{Scheme: SchemeNone, PassThrough: true, Signer: "none"}
	without = &Authorization{Scheme: SchemeNone, Signer: "none"}
)

// Refuser is a [Signer] that refuses some requests whatever credential they would
// get.
type Refuser interface {
	Signer
	// Refuse returns an [*Error] that says why r is refused, or nil. It asks
	// nobody.
	Refuse(r Request) error
}

// Authorize returns what authorises a request whose kind a [Scope] has decided.
// A signer is asked only where there is to be a credential of ours.
func Authorize(ctx context.Context, s Signer, r Request) (*Authorization, error) {
	if refuser, ok := s.(Refuser); ok {
		if err := refuser.Refuse(r); err != nil {
			return nil, err
		}
	}
	switch r.Kind {
	case KindClient:
		return keep, nil
	case KindNone:
		return without, nil
	}
	return s.Sign(ctx, r)
}
