// Package exchange gives a workload a client token for a token of the platform that it runs
// on (OAuth 2.0 Token Exchange, RFC 8693). Strangers may ask: what they send is bounded, and
// so is how often.
package exchange

import (
	"context"
	"encoding/json"
	"errors"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"github.com/agentproxy/agentproxy/internal/localguard"
	"github.com/agentproxy/agentproxy/proxy/access"
	"github.com/agentproxy/agentproxy/proxy/access/issued"
	"github.com/agentproxy/agentproxy/proxy/access/ratelimit"
	"github.com/agentproxy/agentproxy/proxy/access/workload"
	"github.com/agentproxy/agentproxy/proxy/internal/refuse"
	"github.com/agentproxy/agentproxy/proxy/internal/track"
)

// Path is where a token is asked for.
const Path = "/token"

// Words of RFC 8693, section 3.
const (
	grantType       = "urn:ietf:params:oauth:grant-type:token-exchange"
	typeJWT         = "urn:ietf:params:oauth:token-type:jwt"
	typeIDToken     = "urn:ietf:params:oauth:token-type:id_token"
	typeAccessToken = "urn:ietf:params:oauth:token-type:access_token"
)

const (
	// maxBody bounds a request's body, in bytes.
	maxBody = 32 << 10
	// perMinute is how often a user or an address may ask in a minute.
	perMinute = 600
	// tallyInterval is how often refusals of one kind are summed up in the log.
	tallyInterval = time.Second
	// maxSubject bounds what the log has of a subject, in bytes.
	maxSubject = 256
)

// Config says whose tokens are taken, and what is given for them.
type Config struct {
	// Check says who has shown a token. nil: none is taken.
	Check func(ctx context.Context, token string) (*workload.Identity, error)
	// Tokens issues the client tokens.
	Tokens *issued.Tokens
	// TTL is how long they are good at most. None is good for longer than the token that it
	// is given for, unless its issuer's may.
	TTL time.Duration
	// Log gets a line for each token that is given, and few for those that are refused.
	Log zerolog.Logger
}

// Handler answers workloads. It must be closed.
type Handler struct {
	current func() (config Config, done func())
	observe func(result string)
	asked   *ratelimit.Limiter
	refused *track.Tally[string]
	// patience bounds the time in which a body comes, at listeners of others too: the
	// configuration is in use meanwhile.
	patience time.Duration
}

// New returns a handler that goes by the configuration that current returns, until done is
// called. observe is told the result of each request, one of [Results].
func New(current func() (config Config, done func()), observe func(result string)) *Handler {
	h := &Handler{current: current, observe: observe, asked: ratelimit.New(time.Now), patience: readTimeout}
	h.refused = track.NewTally(tallyInterval, func(result string, times int) {
		config, done := current()
		defer done()
		config.Log.Warn().Str("refused", result).Int("times", times).Msg("more identity tokens that were not exchanged")
	})
	return h
}

// Close logs the refusals that have not been summed up yet.
func (h *Handler) Close() { h.refused.Stop() }

// The results that are not reasons of package workload.
const (
	Issued       = "issued"
	Revoked      = "revoked"       // the label's tokens were revoked after the token was issued
	BadRequest   = "bad_request"   // it is no request of RFC 8693
	TooManyAsked = "too_many_asks" // from one address
	Failed       = "failed"        // the token could not be made
)

// Results returns all results.
func Results() []string {
	all := []string{Issued, Revoked, BadRequest, TooManyAsked, Failed}
	for _, code := range workload.Reasons() {
		all = append(all, string(code))
	}
	return all
}

// refusal is the answer to a request that gets no token (RFC 6749, section 5.2).
type refusal struct {
	status     int
	result     string
	oauth      string // the error code of the RFC
	message    string
	retryAfter time.Duration
	cause      error // for the log
	subject    string
}

func invalid(result, message string) *refusal {
	return &refusal{status: http.StatusBadRequest, result: result, oauth: "invalid_request", message: message}
}

// answer is what is given (RFC 8693, section 2.2.1). Label is ours.
type answer struct {
	AccessToken     string `json:"access_token"`
	IssuedTokenType string `json:"issued_token_type"`
	TokenType       string `json:"token_type"`
	ExpiresIn       int    `json:"expires_in"`
	Label           string `json:"label"`
}

// ServeHTTP implements [http.Handler].
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	config, done := h.current()
	defer done()
	given, refused := h.serve(config, w, r)
	if refused != nil {
		h.refuse(config, w, refused)
		return
	}
	h.observe(Issued)
	write(w, http.StatusOK, given)
}

func (h *Handler) serve(config Config, w http.ResponseWriter, r *http.Request) (*answer, *refusal) {
	if config.Check == nil || r.URL.Path != Path {
		return nil, &refusal{status: http.StatusNotFound, result: BadRequest, oauth: "invalid_request", message: "there is nothing here; POST to " + Path + ", if exchange.issuers is set"}
	}
	if field, _ := localguard.ForeignPage(r.Header["Origin"], r.Header["Sec-Fetch-Site"], func(string) bool { return false }); field != "" {
		return nil, &refusal{status: http.StatusForbidden, result: BadRequest, oauth: "invalid_request", message: "not for web pages"}
	}
	limit := &ratelimit.Rules{PerLabel: ratelimit.Limits{RequestsPerMinute: perMinute}}
	if over := h.asked.Request(ratelimit.Client{Label: access.ClientOf(r.Context())}, limit); over != nil {
		return nil, &refusal{
			status: http.StatusTooManyRequests, result: TooManyAsked, oauth: "slow_down", message: "too many requests came from this address; wait",
			retryAfter: over.RetryAfter,
		}
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(h.patience))
	token, refused := subjectToken(w, r)
	if refused != nil {
		return nil, refused
	}
	identity, err := config.Check(r.Context(), token)
	if err != nil {
		return nil, unproved(err)
	}
	until := identity.Expires
	if identity.Outlive {
		until = time.Now().Add(config.TTL)
	}
	signed, issuedToken, err := config.Tokens.IssueFor(r.Context(), identity.Label, identity.Issued, until, config.TTL)
	switch {
	case errors.Is(err, issued.ErrRevoked):
		return nil, invalid(Revoked, "the tokens of this label were revoked after the token was issued; get another from the platform")
	case errors.Is(err, issued.ErrExpired):
		return nil, invalid(string(workload.Expired), "the token has expired; get another from the platform")
	case err != nil:
		return nil, &refusal{
			status: http.StatusServiceUnavailable, result: Failed, oauth: "temporarily_unavailable", message: "no token can be issued at the moment; try again",
			retryAfter: 5 * time.Second, cause: err,
		}
	}
	config.Log.Info().Str("client", identity.Label).Str("id", issuedToken.ID).Time("until", issuedToken.Expires).
		Str("issuer", identity.Issuer).Str("subject", shortened(identity.Subject)).Str("peer", r.RemoteAddr).Msg("client token issued")
	return &answer{
		AccessToken: signed, IssuedTokenType: typeAccessToken, TokenType: "N_A", Label: identity.Label,
		// From now: Issued is to come if the label was revoked before the clock was set back.
		ExpiresIn: max(0, int(time.Until(issuedToken.Expires)/time.Second)),
	}, nil
}

// subjectToken returns the token that a request shows.
func subjectToken(w http.ResponseWriter, r *http.Request) (string, *refusal) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		return "", &refusal{status: http.StatusMethodNotAllowed, result: BadRequest, oauth: "invalid_request", message: "POST a form of RFC 8693"}
	}
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/x-www-form-urlencoded" {
		return "", invalid(BadRequest, "send a form, as application/x-www-form-urlencoded")
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	if err := r.ParseForm(); err != nil { // whose error might quote it
		return "", invalid(BadRequest, "the form cannot be read, or has more than "+strconv.Itoa(maxBody)+" bytes")
	}
	for name, values := range r.PostForm {
		if len(values) > 1 {
			return "", invalid(BadRequest, "a parameter of the form came more than once")
		}
		if name == "actor_token" {
			return "", invalid(BadRequest, "actor_token is not taken; leave it out")
		}
	}
	token := r.PostForm.Get("subject_token")
	switch kind, wanted := r.PostForm.Get("subject_token_type"), r.PostForm.Get("requested_token_type"); {
	case r.PostForm.Get("grant_type") != grantType:
		refused := invalid(BadRequest, "grant_type must be "+grantType)
		refused.oauth = "unsupported_grant_type"
		return "", refused
	case kind != typeJWT && kind != typeIDToken:
		return "", invalid(BadRequest, "subject_token_type must be "+typeJWT)
	case wanted != "" && wanted != typeAccessToken:
		return "", invalid(BadRequest, "requested_token_type must be "+typeAccessToken+", or be left out")
	case token == "":
		return "", invalid(BadRequest, "subject_token is missing: the token of the platform")
	}
	return token, nil
}

// unproved returns the refusal of a token that is not taken.
func unproved(err error) *refusal {
	e, ok := errors.AsType[*workload.Error](err)
	if !ok {
		return &refusal{status: http.StatusServiceUnavailable, result: Failed, oauth: "temporarily_unavailable", message: "the token cannot be checked; try again", retryAfter: 5 * time.Second, cause: err}
	}
	refused := invalid(string(e.Code), e.Message)
	refused.cause, refused.subject = e.Cause, e.Subject
	if e.Code == workload.Unavailable {
		refused.status, refused.oauth, refused.retryAfter = http.StatusServiceUnavailable, "temporarily_unavailable", max(time.Second, e.RetryAfter)
	}
	return refused
}

func (h *Handler) refuse(config Config, w http.ResponseWriter, refused *refusal) {
	h.observe(refused.result)
	if h.refused.First(refused.result) {
		event := config.Log.Warn().Str("refused", refused.result).Str("reason", refused.message)
		if refused.cause != nil {
			event.AnErr("error", refused.cause)
		}
		if refused.subject != "" {
			event.Str("subject", shortened(refused.subject))
		}
		event.Msg("identity token not exchanged")
	}
	if refused.retryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(refuse.Seconds(refused.retryAfter)))
	}
	write(w, refused.status, struct {
		Error       string `json:"error"`
		Description string `json:"error_description"`
		Code        string `json:"code"`
	}{refused.oauth, refused.message, refused.result})
}

func write(w http.ResponseWriter, status int, body any) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

// shortened returns what the log has of a subject.
func shortened(s string) string {
	if len(s) > maxSubject {
		return strings.ToValidUTF8(s[:maxSubject], "") + "…"
	}
	return s
}
