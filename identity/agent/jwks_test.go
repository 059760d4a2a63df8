package agent_test

import (
	"crypto"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/agentproxy/agentproxy/identity"
	"github.com/agentproxy/agentproxy/identity/backend"
	"github.com/agentproxy/agentproxy/integration/chatgpttest"
)

func encode(v any) string {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return base64.RawURLEncoding.EncodeToString(raw)
}

// resign gives a JWT another header and signature.
func resign(jwt string, header map[string]any, sign func(input string) []byte) string {
	parts := strings.Split(jwt, ".")
	input := encode(header) + "." + parts[1]
	return input + "." + base64.RawURLEncoding.EncodeToString(sign(input))
}

func rs256(key *rsa.PrivateKey) func(string) []byte {
	return func(input string) []byte {
		sum := sha256.Sum256([]byte(input))
		sig, err := rsa.SignPKCS1v15(nil, key, crypto.SHA256, sum[:])
		if err != nil {
			panic(err)
		}
		return sig
	}
}

func TestVerifyJWT(t *testing.T) {
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	claim := func(name string, value any) func(*rig, *chatgpttest.AgentIdentity) string {
		return func(r *rig, id *chatgpttest.AgentIdentity) string {
			return r.server.IdentityJWT(id, func(claims map[string]any) {
				if value == nil {
					delete(claims, name)
				} else {
					claims[name] = value
				}
			})
		}
	}
	header := func(header map[string]any, sign func(string) []byte) func(*rig, *chatgpttest.AgentIdentity) string {
		return func(r *rig, id *chatgpttest.AgentIdentity) string {
			return resign(r.server.IdentityJWT(id), header, sign)
		}
	}
	const kid = "chatgpttest-1"
	for _, tt := range []struct {
		name, text string // text "": it is good
		jwt        func(*rig, *chatgpttest.AgentIdentity) string
	}{
		{"good", "", func(r *rig, id *chatgpttest.AgentIdentity) string { return r.server.IdentityJWT(id) }},
		{"audience among others", "", claim("aud", []string{"x", "codex-app-server"})},
		{"wrong audience", "audience", claim("aud", "somebody-else")},
		{"no audience", "aud", claim("aud", nil)},
		{"wrong issuer", "issuer", claim("iss", "https://example.com")},
		{"no issuer", "iss", claim("iss", nil)},
		{"expired", "expired", claim("exp", time.Now().Add(-time.Minute).Unix())},
		{"no expiry", "exp", claim("exp", nil)},
		{"not yet", "not valid yet", claim("nbf", time.Now().Add(time.Hour).Unix())},
		{"wrong key", "", nil},
		{"no kid", "does not name", header(map[string]any{"alg": "RS256"}, rs256(signingKey()))},
		{"other kid", "does not name", header(map[string]any{"alg": "RS256", "kid": "x"}, rs256(signingKey()))},
		{"kid is a number", "does not name", header(map[string]any{"alg": "RS256", "kid": 1}, rs256(signingKey()))},
		{"alg none", "signing method", header(map[string]any{"alg": "none", "kid": kid}, func(string) []byte { return []byte("x") })},
		{"alg HS256", "signing method", header(map[string]any{"alg": "HS256", "kid": kid}, func(input string) []byte {
			mac := hmac.New(sha256.New, signingKey().N.Bytes())
			mac.Write([]byte(input))
			return mac.Sum(nil)
		})},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t)
			l := r.server.Login(chatgpttest.Account{})
			id := r.server.RegisterIdentity(l)
			if tt.name == "wrong key" {
				tt.text, tt.jwt = "signature is invalid", header(map[string]any{"alg": "RS256", "kid": kid}, rs256(other))
			}
			jwt := tt.jwt(r, id)
			r.keys = append(r.keys, jwt, id.PrivateKeyPKCS8)
			r.write(fmt.Appendf(nil, `{"auth_mode":"agentIdentity","agent_identity":%q}`, jwt))
			a := r.agent()
			if tt.text != "" {
				_, err := a.Session(t.Context(), "")
				r.fails(err, nil, tt.text)
				return
			}
			together(20, func(int) {
				if s, err := a.Session(t.Context(), ""); err != nil || r.accepts(s) != 200 {
					t.Errorf("%+v, %v", s, err)
				}
			})
			for i := range 3 {
				r.session(a, fmt.Sprint("label-", i))
			}
			got := r.server.Stats()
			if got.JWKS != 1 || got.Biscuits != 0 || got.AgentRegistrations != 0 || got.TaskRegistrations != 4 {
				t.Errorf("counted %+v", got)
			}
		})
	}
}

// TestBadJWTIsReplaced registers an identity where there is a log-in to do it.
func TestBadJWTIsReplaced(t *testing.T) {
	r := newRig(t)
	l := r.server.Login(chatgpttest.Account{})
	id := r.server.RegisterIdentity(l)
	jwt := r.server.IdentityJWT(id, func(claims map[string]any) { claims["aud"] = "x" })
	r.write(l.AuthJSON())
	if err := os.MkdirAll(r.state, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(r.identity(), []byte(`"`+jwt+`"`), 0o600); err != nil {
		t.Fatal(err)
	}
	a := r.agent()
	s := r.session(a, "")
	if s.Identity.AgentRuntimeID == id.RuntimeID || r.accepts(s) != 200 || len(r.aside()) != 1 {
		t.Errorf("signs as %q, aside %q", s.Identity.AgentRuntimeID, r.aside())
	}
}

// TestKeySetFails keeps the identity, and asks again later.
func TestKeySetFails(t *testing.T) {
	for _, fault := range []chatgpttest.Fault{
		{Status: 500}, {Status: 200, Body: "<html>\n"}, {Status: 200, Body: `{"keys":[]}`}, {Reset: true},
		{Status: 200, Body: `{"keys":[{"kty":"RSA","kid":"k","n":"AQAB","e":"AQAB"}]}`},
	} {
		r := newRig(t)
		l := r.server.Login(chatgpttest.Account{})
		r.write(l.AuthJSONWithIdentity("B"))
		fault.Path = "*/jwks"
		stop := r.server.Inject(fault)
		a := r.agent()
		for range 60 {
			_, err := a.Session(t.Context(), "")
			r.fails(err, nil, "key")
			r.advance(time.Second)
		}
		if n := r.server.Count("*/jwks"); n < 4 || n > 8 {
			t.Errorf("%+v: asked %d times in a minute", fault, n)
		}
		stop()
		r.advance(10 * time.Minute)
		if s := r.session(a, ""); s.Identity.AgentRuntimeID != l.Identity().RuntimeID {
			t.Error("the identity was replaced")
		}
	}
}

// TestVerifiesAgain does not take a JWT for another that was verified.
func TestVerifiesAgain(t *testing.T) {
	r := newRig(t)
	l := r.server.Login(chatgpttest.Account{})
	r.write(l.AuthJSONWithIdentity("B"))
	a := r.agent()
	r.session(a, "")
	good := l.Identity()
	bad := r.server.IdentityJWT(good, func(claims map[string]any) { claims["iss"] = "x" })
	r.write(fmt.Appendf(nil, `{"auth_mode":"agentIdentity","agent_identity":%q}`, bad))
	_, err := a.Session(t.Context(), "")
	r.fails(err, nil, "issuer")
	if err := backend.New(backend.Config{BaseURL: baseURL, Transport: r.server.Client().Transport}).
		VerifyJWT(t.Context(), &identity.Record{}); err != nil {
		t.Errorf("a record that is no JWT: %v", err)
	}
}
