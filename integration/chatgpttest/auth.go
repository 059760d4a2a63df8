package chatgpttest

import (
	"fmt"
	"net/http"
	"strings"
	"time"
)

// The values of [AuthResult].Scheme besides the empty string.
const (
	SchemeAgentAssertion = "AgentAssertion"
	SchemeBearer         = "Bearer"
	SchemeBiscuit        = "Biscuit"       // a registration, vouched for by a human biscuit
	SchemeSignature      = "Signature"     // a task registration that needs no biscuit
	SchemeRemoteControl  = "RemoteControl" // a Bearer token that remote control gave out
)

// An AuthResult says what the server made of a request's credential.
type AuthResult struct {
	Scheme string // what the request came with; empty if nothing
	OK     bool   // it verified
	Reason string // why it did not

	AgentRuntimeID string // as the assertion says, verified or not
	TaskID         string
	WorkspaceID    string // the account of a credential that verified
	UserID         string
}

// authRule says what a route asks of a credential.
type authRule int

const (
	authRequired     authRule = iota
	authInference             // the same, and assertions are always taken
	authBearer                // only a person may ask, and need not say X-OpenAI-Fedramp
	authAccounts              // only a person may ask, to register an agent
	authRegistration          // the handler verifies it
	authPublic                // no credential is looked at
	authNone                  // nor is any wanted: Codex sends none
	authOwn                   // a credential that is not the log-in's; the handler verifies it
)

// A refusal is an answer that says why a request is not served.
type refusal struct {
	status       int
	code, reason string
}

func (f *refusal) write(w http.ResponseWriter) { writeError(w, f.status, f.code, f.reason) }

// authenticate verifies the request's credential under the given rule.
func (s *Server) authenticate(r *http.Request, rule authRule, now time.Time) (AuthResult, *refusal) {
	switch rule {
	case authPublic:
		return AuthResult{OK: true}, nil
	case authNone, authOwn:
		s.checkUnwanted(r, rule)
		return AuthResult{OK: true}, nil
	}
	values := r.Header.Values("Authorization")
	if len(values) == 0 {
		if rule == authRegistration {
			return AuthResult{}, nil
		}
		refused := &refusal{http.StatusUnauthorized, "missing_authorization", "no Authorization header"}
		return AuthResult{Reason: refused.reason}, refused
	}
	res, refused := s.verify(r, values, rule, now)
	if refused != nil {
		res.Reason = refused.reason
	} else {
		res.OK = true
	}
	return res, refused
}

func (s *Server) verify(r *http.Request, values []string, rule authRule, now time.Time) (res AuthResult, _ *refusal) {
	if len(values) > 1 {
		return res, &refusal{http.StatusUnauthorized, "invalid_authorization", fmt.Sprintf("%d Authorization headers", len(values))}
	}
	scheme, credential, _ := strings.Cut(values[0], " ")
	switch scheme {
	case SchemeAgentAssertion:
		if rule == authBearer || rule == authAccounts || rule == authRegistration || rule == authRequired && s.inferenceOnly() {
			return AuthResult{Scheme: scheme}, &refusal{http.StatusUnauthorized, "agent_not_allowed", "an agent may not ask for this"}
		}
		var g Generation
		var refused *refusal
		if res, g, refused = s.verifyAssertion(credential, now); refused != nil {
			return res, refused
		}
		if refused := s.checkAssertedAccount(r.Header.Values("ChatGPT-Account-ID"), res, g); refused != nil {
			return res, refused
		}
	case SchemeBearer:
		var refused *refusal
		if res, refused = s.verifyBearer(credential, now); refused != nil {
			return res, refused
		}
		if refused := checkAccountID(r.Header.Values("ChatGPT-Account-ID"), res); refused != nil {
			return res, refused
		}
	default:
		return res, &refusal{http.StatusUnauthorized, "invalid_authorization", fmt.Sprintf("unknown authorization scheme %q", scheme)}
	}
	// Not every Codex says X-OpenAI-Fedramp when it asks for a biscuit.
	if rule == authBearer || rule == authRegistration {
		return res, nil
	}
	return res, s.checkFedRAMP(r, res)
}

// checkAssertedAccount holds the ChatGPT-Account-ID beside an assertion to the
// generation of its agent.
func (s *Server) checkAssertedAccount(ids []string, res AuthResult, g Generation) *refusal {
	switch {
	case len(ids) > 0 && g == FirstGeneration && !s.Config.AssertionWithAccountID:
		return &refusal{http.StatusBadRequest, "ambiguous_account", "ChatGPT-Account-ID together with an AgentAssertion of the first generation"}
	case len(ids) == 0 && g == SecondGeneration:
		return &refusal{http.StatusUnauthorized, "account_required", "no ChatGPT-Account-ID beside an AgentAssertion of the second generation"}
	}
	return checkAccountID(ids, res)
}

// checkAccountID demands that a ChatGPT-Account-ID names the credential's account.
func checkAccountID(ids []string, res AuthResult) *refusal {
	if len(ids) > 1 || len(ids) == 1 && ids[0] != res.WorkspaceID {
		return &refusal{http.StatusUnauthorized, "wrong_account", fmt.Sprintf("ChatGPT-Account-ID %q is not the credential's account %q", ids, res.WorkspaceID)}
	}
	return nil
}

// verifyBearer looks an access token up. That it was issued by the server is all
// that counts, so its claims are not read.
func (s *Server) verifyBearer(token string, now time.Time) (AuthResult, *refusal) {
	res := AuthResult{Scheme: SchemeBearer}
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.state.access[token]
	if t == nil {
		return res, &refusal{http.StatusUnauthorized, "token_invalidated", "the access token is not known"}
	}
	if !t.expires.IsZero() && !now.Before(t.expires) {
		return res, &refusal{http.StatusUnauthorized, "token_expired", "the access token expired at " + t.expires.UTC().Format(time.RFC3339)}
	}
	res.WorkspaceID, res.UserID = t.account.WorkspaceID, t.account.UserID
	return res, nil
}

// checkFedRAMP demands the header of FedRAMP accounts, and of no other.
func (s *Server) checkFedRAMP(r *http.Request, res AuthResult) *refusal {
	fedRAMP := s.accountOf(res).FedRAMP
	values := r.Header.Values("X-OpenAI-Fedramp")
	switch {
	case fedRAMP && (len(values) != 1 || values[0] != "true"):
		return &refusal{http.StatusUnauthorized, "fedramp_required", fmt.Sprintf("X-OpenAI-Fedramp is %q for a FedRAMP account", values)}
	case !fedRAMP && len(values) > 0:
		return &refusal{http.StatusUnauthorized, "fedramp_not_allowed", "X-OpenAI-Fedramp for an account that is not a FedRAMP account"}
	}
	return nil
}

// accountOf returns the account of a verified credential.
func (s *Server) accountOf(res AuthResult) Account {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a := s.state.accounts[accountKey{res.WorkspaceID, res.UserID}]; a != nil {
		return *a
	}
	return Account{WorkspaceID: res.WorkspaceID, UserID: res.UserID}.withDefaults()
}
