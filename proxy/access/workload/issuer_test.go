package workload

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/golang-jwt/jwt/v5"
)

// clock tells a time that a test sets.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func newClock() *clock { return &clock{at: time.Unix(1_800_000_000, 0)} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// testIssuer is an issuer that a test plays.
type testIssuer struct {
	*httptest.Server
	clock *clock

	mu       sync.Mutex
	keys     []jose.JSONWebKey
	fetched  []*http.Request // of its keys, and of its discovery
	answer   http.HandlerFunc
	jwksURI  string // in place of its own
	audience string
}

func newIssuer(t *testing.T) *testIssuer {
	t.Helper()
	i := &testIssuer{clock: newClock(), audience: "agentproxy"}
	i.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		i.mu.Lock()
		i.fetched = append(i.fetched, r.Clone(r.Context()))
		answer, keys, uri := i.answer, i.keys, i.jwksURI
		i.mu.Unlock()
		switch {
		case answer != nil:
			answer(w, r)
		case r.URL.Path == "/.well-known/openid-configuration":
			if uri == "" {
				uri = i.URL + "/openid/v1/jwks"
			}
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(map[string]any{"issuer": i.URL, "jwks_uri": uri, "id_token_signing_alg_values_supported": []string{"RS256"}})
		case r.URL.Path == "/openid/v1/jwks":
			w.Header().Set("Content-Type", "application/jwk-set+json")
			_ = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: keys})
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	t.Cleanup(i.Close)
	return i
}

// signingKey is a key that an issuer signs with.
type signingKey struct {
	id      string
	private crypto.Signer
	method  jwt.SigningMethod
}

func rsaKey(t *testing.T, id string) signingKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return signingKey{id, key, jwt.SigningMethodRS256}
}

func ecKey(t *testing.T, id string, curve elliptic.Curve, method jwt.SigningMethod) signingKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return signingKey{id, key, method}
}

func edKey(t *testing.T, id string) signingKey {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return signingKey{id, key, jwt.SigningMethodEdDSA}
}

// jwk returns the public key as a key set has it.
func (k signingKey) jwk() jose.JSONWebKey {
	return jose.JSONWebKey{Key: k.private.Public(), KeyID: k.id, Use: "sig", Algorithm: k.method.Alg()}
}

// publish replaces the issuer's key set.
func (i *testIssuer) publish(keys ...signingKey) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.keys = nil
	for _, k := range keys {
		i.keys = append(i.keys, k.jwk())
	}
}

func (i *testIssuer) respond(answer http.HandlerFunc) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.answer = answer
}

// fetches returns how often the keys were asked for.
func (i *testIssuer) fetches() (n int) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, r := range i.fetched {
		if r.URL.Path == "/openid/v1/jwks" {
			n++
		}
	}
	return n
}

// claims are those of a good token.
func (i *testIssuer) claims(edit func(jwt.MapClaims)) jwt.MapClaims {
	now := i.clock.now()
	c := jwt.MapClaims{
		"iss": i.URL, "aud": i.audience, "sub": "job:42", "jti": fmt.Sprint("id-", time.Now().UnixNano()),
		"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(10 * time.Minute).Unix(),
	}
	if edit != nil {
		edit(c)
	}
	return c
}

// sign returns a token.
func sign(t *testing.T, key signingKey, claims jwt.MapClaims) string {
	t.Helper()
	token := jwt.NewWithClaims(key.method, claims)
	token.Header["kid"] = key.id
	s, err := token.SignedString(key.private)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// checker returns a checker of this issuer alone.
func (i *testIssuer) checker(t *testing.T, edit func(*Issuer)) *Checker {
	t.Helper()
	label, err := ParseLabel(map[string]string{"sub": "job:*"}, "jobs")
	if err != nil {
		t.Fatal(err)
	}
	config := Issuer{URL: i.URL, Audience: i.audience, Labels: []Label{label}, Transport: i.Client().Transport}
	if edit != nil {
		edit(&config)
	}
	return New([]Issuer{config}, NewUsed(), i.clock.now)
}
