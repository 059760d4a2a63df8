// Package workload says which session label a workload has, by a token of the platform
// that it runs on: a service account's in Kubernetes, a job's of GitHub Actions, or any
// other OpenID Connect ID token (OpenID Connect Core 1.0, section 2).
//
//	workload  the decision                                        workload.go
//	keys      the keys of an issuer, and when they are fetched    keys.go
//	fetch     the requests to an issuer                           fetch.go
//	look      what an issuer answers, for whoever looks after it   look.go
//	labels    claims, and the label that they stand for           labels.go
package workload

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"

	"github.com/agentproxy/agentproxy/internal/strictjson"
)

const (
	// maxToken bounds a token, in bytes. Those of Kubernetes and GitHub have two thousand.
	maxToken = 16 << 10
)

// MaxSkew is how far an issuer's clock may be ahead of this machine's.
const MaxSkew = time.Minute

// algorithms are those that a token may be signed with. All of them have a public key: with
// HS256 whoever can check a token could make one.
var algorithms = [...]jose.SignatureAlgorithm{
	jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512, jose.ES256, jose.ES384, jose.ES512, jose.EdDSA,
}

// Issuer says whose tokens are taken, and for what.
type Issuer struct {
	// URL is the issuer, as tokens name it.
	URL string
	// Audience is what tokens must be meant for.
	Audience string
	// KeysURL has the issuer's keys. "" finds it by discovery (OpenID Connect Discovery
	// 1.0, section 4).
	KeysURL string
	// TokenFile is a file with the token that is shown to the issuer's own host and to
	// that of KeysURL. "" shows none. It is read for each request.
	TokenFile string
	// SingleUse takes each token once.
	SingleUse bool
	// Outlive lets what is given for a token be good for longer than the token.
	Outlive bool
	// Labels say which label the claims of a token stand for. The first that matches holds.
	Labels []Label
	// Transport sends the requests to the issuer.
	Transport http.RoundTripper
}

// Identity is who has shown a token. Its fields but Label are the issuer's words.
type Identity struct {
	Issuer, Subject string
	Label           string
	Issued, Expires time.Time
	// Outlive says that what is given for the token may be good beyond Expires.
	Outlive bool
}

// Reason says in one word why a token is refused. There are few, so that they can be
// counted.
type Reason string

// The reasons.
const (
	Malformed     Reason = "malformed"      // it is no such token, or of an algorithm that is not taken
	ForeignIssuer Reason = "foreign_issuer" // nobody has configured who issued it
	BadSignature  Reason = "bad_signature"  // the issuer has not signed it
	BadClaims     Reason = "bad_claims"     // its issuer, audience or times are wrong, or missing
	Expired       Reason = "expired"        // it was good
	Replayed      Reason = "replayed"       // it was taken once
	NoLabel       Reason = "no_label"       // its claims stand for no label
	Unavailable   Reason = "unavailable"    // it cannot be checked now
)

// Reasons returns all reasons.
func Reasons() []Reason {
	return []Reason{Malformed, ForeignIssuer, BadSignature, BadClaims, Expired, Replayed, NoLabel, Unavailable}
}

// Error says why a token is refused. It holds nothing of a token that its issuer has not
// signed.
type Error struct {
	Code    Reason
	Message string
	// RetryAfter is when the token may be shown again, for Unavailable.
	RetryAfter time.Duration
	// Subject is whose token it is, for NoLabel.
	Subject string
	// Cause is for the log. It may hold an issuer's words. nil: none.
	Cause error
}

// Error implements error.
func (e *Error) Error() string { return e.Message }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }

func refusef(code Reason, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// Checker checks tokens. It is safe for concurrent use.
type Checker struct {
	issuers map[string]*issuer
	used    *Used
	now     func() time.Time
}

// issuer is an [Issuer] made ready for use.
type issuer struct {
	Issuer
	keys *keys
}

// New returns a checker of the tokens of issuers. used remembers the tokens that were taken
// once; it may be shared. now is the clock.
func New(issuers []Issuer, used *Used, now func() time.Time) *Checker {
	c := &Checker{issuers: make(map[string]*issuer, len(issuers)), used: used, now: now}
	for _, i := range issuers {
		c.issuers[i.URL] = &issuer{i, &keys{fetch: newFetcher(i).keys, now: now}}
	}
	return c
}

// Check returns who has shown the token raw. The error is an [*Error].
func (c *Checker) Check(ctx context.Context, raw string) (*Identity, error) {
	signed, payload, refused := parse(raw)
	if refused != nil {
		return nil, refused
	}
	url, refused := issuerOf(payload)
	if refused != nil {
		return nil, refused
	}
	i := c.issuers[url]
	if i == nil {
		return nil, refusef(ForeignIssuer, "the token's issuer is none of exchange.issuers")
	}
	payload, refused = i.keys.verify(ctx, signed)
	if refused != nil {
		return nil, refused
	}
	claims, refused := decode(payload)
	if refused != nil {
		return nil, refused
	}
	token, refused := c.checkClaims(ctx, i, raw, payload, claims)
	if refused != nil {
		return nil, refused
	}
	label, refused := labelOf(i.Labels, claims)
	if refused != nil {
		refused.Subject = token.Subject
		return nil, refused
	}
	if i.SingleUse {
		if refused := c.used.take(url, claims, token.Expiry, c.now()); refused != nil {
			return nil, refused
		}
	}
	return &Identity{Issuer: url, Subject: token.Subject, Label: label, Issued: token.IssuedAt, Expires: token.Expiry, Outlive: i.Outlive}, nil
}

// parse reads a token, whose signature is still to be checked.
func parse(raw string) (*jose.JSONWebSignature, []byte, *Error) {
	if len(raw) > maxToken {
		return nil, nil, refusef(Malformed, "the token has more than %d bytes", maxToken)
	}
	signed, err := jose.ParseSignedCompact(raw, algorithms[:])
	if err != nil || len(signed.Signatures) != 1 {
		return nil, nil, refusef(Malformed, "it is not a token signed with a public key (RS256, ES256, EdDSA and their like); show an ID token, as in Kubernetes' projected volumes")
	}
	return signed, signed.UnsafePayloadWithoutVerification(), nil
}

// issuerOf returns who issued a token by its own word. A name that comes twice might be read
// otherwise by somebody else.
func issuerOf(payload []byte) (string, *Error) {
	var d strictjson.Decoder
	url := d.Document("token", payload).Text("iss")
	if d.Err != nil || url == "" {
		return "", refusef(Malformed, "the token's claims cannot be read, or name no issuer")
	}
	return url, nil
}

// checkClaims checks what every token must say, payload and claims being verified.
func (c *Checker) checkClaims(ctx context.Context, i *issuer, raw string, payload []byte, claims map[string]any) (*oidc.IDToken, *Error) {
	for _, name := range []string{"exp", "iat", "nbf"} {
		if _, ok := seconds(claims[name]); !ok {
			return nil, refusef(BadClaims, "the token's %s is no time", name)
		}
	}
	names := make([]string, len(algorithms))
	for n, a := range algorithms {
		names[n] = string(a)
	}
	verifier := oidc.NewVerifier(i.URL, verified(payload), &oidc.Config{ClientID: i.Audience, SupportedSigningAlgs: names, Now: c.now})
	token, err := verifier.Verify(ctx, raw)
	var expired *oidc.TokenExpiredError
	switch now := c.now(); {
	case errors.As(err, &expired) && !expired.Expiry.IsZero():
		return nil, refusef(Expired, "the token has expired; get another from the platform")
	case errors.As(err, &expired):
		return nil, refusef(BadClaims, "the token does not expire, so it is not taken")
	case err != nil:
		return nil, &Error{Code: BadClaims, Message: fmt.Sprintf("the token is not meant for this proxy; ask the platform for one with the audience %q", i.Audience), Cause: err}
	case !now.Before(token.Expiry):
		return nil, refusef(Expired, "the token has expired; get another from the platform")
	case token.Subject == "":
		return nil, refusef(BadClaims, "the token has no subject")
	case token.IssuedAt.IsZero() || !token.IssuedAt.Before(token.Expiry):
		return nil, refusef(BadClaims, "the token does not say when it was issued, or was never good")
	case token.IssuedAt.After(now.Add(MaxSkew)), notBefore(claims).After(now.Add(MaxSkew)):
		return nil, refusef(BadClaims, "the token is not good yet; set the clock of this machine, or that of its issuer")
	}
	return token, nil
}

// notBefore returns the time before which a token is not good, long ago if it does not say.
// go-oidc allows five minutes, which is more than clocks differ by.
func notBefore(claims map[string]any) time.Time {
	n, _ := seconds(claims["nbf"])
	return time.Unix(int64(n), 0)
}

// seconds returns a NumericDate (RFC 7519, section 2), 0 if there is none. Those that no
// clock shows are not ok.
func seconds(claim any) (n float64, ok bool) {
	switch v := claim.(type) {
	case nil:
		return 0, true
	case json.Number:
		n, err := v.Float64()
		return n, err == nil && n >= 0 && n < 1<<36
	}
	return 0, false
}

// verified is the payload of a token whose signature was checked.
type verified []byte

// VerifySignature implements [oidc.KeySet].
func (v verified) VerifySignature(context.Context, string) ([]byte, error) { return v, nil }

// decode decodes claims. Numbers stay as they are written.
func decode(payload []byte) (map[string]any, *Error) {
	d := json.NewDecoder(strings.NewReader(string(payload)))
	d.UseNumber()
	var claims map[string]any
	if d.Decode(&claims) != nil {
		return nil, refusef(Malformed, "the token's claims cannot be read")
	}
	return claims, nil
}
