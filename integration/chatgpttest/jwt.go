package chatgpttest

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"net/http"
)

const (
	identityIssuer   = "https://chatgpt.com/codex-backend/agent-identity"
	identityAudience = "codex-app-server"
	signingKeyID     = "chatgpttest-1"
)

// signingKey returns the key that signs JWTs. The caller holds s.mu.
func (s *Server) signingKey() *rsa.PrivateKey {
	if s.state.signingKey == nil {
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			panic("chatgpttest: " + err.Error())
		}
		s.state.signingKey = key
	}
	return s.state.signingKey
}

// sign returns a JWT with the given claims. The caller holds s.mu.
func (s *Server) sign(claims map[string]any) string {
	enc := base64.RawURLEncoding
	head := encodeJSON(map[string]any{"alg": "RS256", "typ": "JWT", "kid": signingKeyID})
	token := enc.EncodeToString(head) + "." + enc.EncodeToString(encodeJSON(claims))
	sum := sha256.Sum256([]byte(token))
	sig, err := rsa.SignPKCS1v15(nil, s.signingKey(), crypto.SHA256, sum[:])
	if err != nil {
		panic("chatgpttest: " + err.Error())
	}
	return token + "." + enc.EncodeToString(sig)
}

// IdentityJWT returns the identity as a JWT that the server's key set verifies.
// Each edit may change the claims before they are signed, to make a token that
// ought to be refused. An identity that came as a JWT needs no biscuit to
// register tasks, and is answered with plain task ids; under /api/accounts, where
// newer clients register, that goes for every identity.
func (s *Server) IdentityJWT(id *AgentIdentity, edit ...func(claims map[string]any)) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	claims := map[string]any{
		"iss": identityIssuer, "aud": identityAudience,
		"sub": id.RuntimeID, "iat": now.Unix(), "exp": now.AddDate(1, 0, 0).Unix(),
		"agent_runtime_id":           id.RuntimeID,
		"agent_private_key":          id.PrivateKeyPKCS8,
		"account_id":                 id.account.WorkspaceID,
		"chatgpt_user_id":            id.account.UserID,
		"email":                      id.account.Email,
		"plan_type":                  id.account.PlanType,
		"chatgpt_account_is_fedramp": id.account.FedRAMP,
	}
	for _, e := range edit {
		e(claims)
	}
	if a := s.state.agents[id.RuntimeID]; a != nil {
		a.jwt = true
	}
	return s.sign(claims)
}

// serveJWKS answers …/agent-identities/jwks.
func (s *Server) serveJWKS(w http.ResponseWriter, _ *http.Request, _ *exchange) {
	s.mu.Lock()
	pub := s.signingKey().PublicKey
	s.state.stats.JWKS++
	s.mu.Unlock()
	enc := base64.RawURLEncoding
	writeJSON(w, http.StatusOK, map[string]any{"keys": []any{map[string]any{
		"kty": "RSA", "use": "sig", "alg": "RS256", "kid": signingKeyID,
		"n": enc.EncodeToString(pub.N.Bytes()),
		"e": enc.EncodeToString(big.NewInt(int64(pub.E)).Bytes()),
	}}})
}

func encodeJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic("chatgpttest: " + err.Error()) // values are built here, of plain types
	}
	return b
}
