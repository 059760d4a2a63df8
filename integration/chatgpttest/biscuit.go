package chatgpttest

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// biscuitLifetime is how long a human biscuit vouches for its call.
const biscuitLifetime = 5 * time.Minute

// serveBiscuit answers GET authenticate_app_v2. The biscuit is for the call that
// the X-Original headers name, and for that only.
func (s *Server) serveBiscuit(w http.ResponseWriter, r *http.Request, x *exchange) {
	path, err := checkBiscuitRequest(r.Header)
	if err != nil {
		writeError(w, http.StatusBadRequest, "invalid_request", err.Error())
		return
	}
	value := "biscuit-" + rand.Text()
	account := s.accountOf(x.auth)
	s.mu.Lock()
	s.state.biscuits[value] = &biscuit{account: account, path: path, expires: x.now.Add(biscuitLifetime)}
	s.state.stats.Biscuits++
	s.mu.Unlock()
	w.Header().Set("X-OpenAI-Authorization", value)
	w.WriteHeader(http.StatusOK)
}

func checkBiscuitRequest(h http.Header) (path string, _ error) {
	const prefix = "codex-agent-identity-"
	id, ok := strings.CutPrefix(h.Get("X-Request-Id"), prefix)
	random, err := base64.RawURLEncoding.Strict().DecodeString(id)
	if !ok || err != nil || len(random) != 16 {
		return "", fmt.Errorf("the X-Request-Id %q is not %s and base64url of 16 bytes", h.Get("X-Request-Id"), prefix)
	}
	if m := h.Get("X-Original-Method"); m != http.MethodPost {
		return "", fmt.Errorf("the X-Original-Method is %q, not POST", m)
	}
	u, err := url.Parse(h.Get("X-Original-Url"))
	if err != nil || u.Host == "" {
		return "", fmt.Errorf("the X-Original-Url %q is not an absolute URL", h.Get("X-Original-Url"))
	}
	p := strings.TrimPrefix(u.EscapedPath(), backendPrefix)
	if p != "/v1/agent/register" && !(strings.HasPrefix(p, "/v1/agent/") && strings.HasSuffix(p, "/task/register")) {
		return "", fmt.Errorf("the X-Original-Url %q is not a registration", u)
	}
	return u.EscapedPath(), nil
}

// checkBiscuit returns the account that the request's biscuit vouches for.
func (s *Server) checkBiscuit(r *http.Request, now time.Time) (*Account, error) {
	values := r.Header.Values("X-OpenAI-Authorization")
	if len(values) != 1 {
		return nil, fmt.Errorf("%d X-OpenAI-Authorization headers", len(values))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.state.biscuits[values[0]]
	switch {
	case b == nil:
		return nil, errors.New("the biscuit is not known")
	case !now.Before(b.expires):
		return nil, errors.New("the biscuit has expired")
	case b.path != rawPath(r):
		return nil, fmt.Errorf("the biscuit is for %s, not for %s", b.path, rawPath(r))
	}
	return &b.account, nil
}

// verifyBiscuit records what checkBiscuit found. It has answered if it returns nil.
func (s *Server) verifyBiscuit(w http.ResponseWriter, r *http.Request, x *exchange) *Account {
	account, err := s.checkBiscuit(r, x.now)
	if err != nil {
		s.refuse(w, x, AuthResult{Scheme: SchemeBiscuit}, &refusal{http.StatusUnauthorized, "invalid_biscuit", err.Error()})
		return nil
	}
	x.setAuth(AuthResult{Scheme: SchemeBiscuit, OK: true, WorkspaceID: account.WorkspaceID, UserID: account.UserID})
	return account
}
