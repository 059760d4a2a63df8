package workload

import (
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/golang-jwt/jwt/v5"
)

func codeOf(err error) Reason {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return ""
}

func wantCode(t *testing.T, c *Checker, name, token string, want Reason) {
	t.Helper()
	id, err := c.Check(t.Context(), token)
	if got := codeOf(err); got != want {
		t.Errorf("%s: %q, %v (%+v), want %q", name, got, err, id, want)
	}
	if err != nil && (len(err.Error()) > 300 || strings.Contains(err.Error(), "\n")) {
		t.Errorf("%s: %q", name, err)
	}
}

// TestAlgorithms takes what a public key checks, and nothing else, whatever the header says.
func TestAlgorithms(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	pss := rsaKey(t, "pss")
	pss.method = jwt.SigningMethodPS256
	good := []signingKey{
		rsaKey(t, "rsa"), pss, edKey(t, "ed"),
		ecKey(t, "p256", elliptic.P256(), jwt.SigningMethodES256), ecKey(t, "p384", elliptic.P384(), jwt.SigningMethodES384), ecKey(t, "p521", elliptic.P521(), jwt.SigningMethodES512),
	}
	i.publish(good...)
	c := i.checker(t, nil)
	for _, key := range good {
		id, err := c.Check(t.Context(), sign(t, key, i.claims(nil)))
		if err != nil {
			t.Fatalf("%s: %v", key.method.Alg(), err)
		}
		if id.Label != "jobs" || id.Subject != "job:42" || id.Issuer != i.URL || id.Expires != i.clock.now().Add(10*time.Minute) {
			t.Errorf("%+v", id)
		}
	}
	rs := good[0]
	token := sign(t, rs, i.claims(nil))
	parts := strings.Split(token, ".")
	header := func(v map[string]any) string {
		raw, _ := json.Marshal(v)
		return base64.RawURLEncoding.EncodeToString(raw)
	}
	// mac signs by HMAC with what anybody can have: the public key.
	mac := func(secret []byte) string {
		head := header(map[string]any{"alg": "HS256", "kid": "rsa", "typ": "JWT"})
		m := hmac.New(sha256.New, secret)
		m.Write([]byte(head + "." + parts[1]))
		return head + "." + parts[1] + "." + base64.RawURLEncoding.EncodeToString(m.Sum(nil))
	}
	der, err := x509.MarshalPKIXPublicKey(rs.private.Public())
	if err != nil {
		t.Fatal(err)
	}
	jwk, _ := json.Marshal(rs.jwk())
	attacker := rsaKey(t, "rsa")
	embedded := func(name string, value any) string {
		token := jwt.NewWithClaims(jwt.SigningMethodRS256, i.claims(nil))
		token.Header["kid"], token.Header[name] = "rsa", value
		s, err := token.SignedString(attacker.private)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	attackerJWK, _ := json.Marshal(attacker.jwk())
	wrongCurve := ecKey(t, "p256", elliptic.P384(), jwt.SigningMethodES384)
	for name, test := range map[string]struct {
		token string
		want  Reason
	}{
		"none":                         {header(map[string]any{"alg": "none"}) + "." + parts[1] + ".", Malformed},
		"none, with a signature":       {header(map[string]any{"alg": "none"}) + "." + parts[1] + "." + parts[2], Malformed},
		"nOnE":                         {header(map[string]any{"alg": "nOnE"}) + "." + parts[1] + ".", Malformed},
		"HS256 with the DER":           {mac(der), Malformed},
		"HS256 with the PEM":           {mac(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})), Malformed},
		"HS256 with the JWK":           {mac(jwk), Malformed},
		"no signature":                 {parts[0] + "." + parts[1] + ".", BadSignature},
		"another's key by this id":     {sign(t, attacker, i.claims(nil)), BadSignature},
		"another curve by this id":     {sign(t, wrongCurve, i.claims(nil)), BadSignature},
		"ES256 with the RSA key's id":  {sign(t, signingKey{"rsa", good[3].private, jwt.SigningMethodES256}, i.claims(nil)), BadSignature},
		"RS512 with a key for RS256":   {sign(t, signingKey{"rsa", rs.private, jwt.SigningMethodRS512}, i.claims(nil)), BadSignature},
		"its own key in the header":    {embedded("jwk", json.RawMessage(attackerJWK)), BadSignature},
		"a key to fetch in the header": {embedded("jku", "https://192.0.2.1/keys"), BadSignature},
		"a critical header":            {embedded("crit", []string{"exp"}), BadSignature},
		"altered":                      {parts[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(strings.Replace(decoded(t, parts[1]), "job:42", "job:43", 1))) + "." + parts[2], BadSignature},
		"another's signature":          {parts[0] + "." + parts[1] + "." + strings.Split(sign(t, rs, i.claims(nil)), ".")[2], BadSignature},
		"JSON serialization":           {`{"payload":"` + parts[1] + `","signatures":[{"protected":"` + parts[0] + `","signature":"` + parts[2] + `"}]}`, Malformed},
		"encrypted":                    {"a.b.c.d.e", Malformed},
		"nothing":                      {"", Malformed},
		"dots":                         {"..", Malformed},
		"too long":                     {strings.Repeat("a", maxToken+1), Malformed},
		"with a space":                 {token + " ", Malformed},
		"padded":                       {parts[0] + "." + parts[1] + "=." + parts[2], Malformed},
	} {
		if test.token == token {
			t.Fatalf("%s is the token itself", name)
		}
		id, err := c.Check(t.Context(), test.token)
		if got := codeOf(err); got != test.want {
			// A header that go-jose cannot read is malformed as well.
			if got != Malformed || test.want != BadSignature {
				t.Errorf("%s: %q, %v, %+v, want %q", name, got, err, id, test.want)
			}
		}
	}
	if _, err := c.Check(t.Context(), token); err != nil {
		t.Errorf("the token itself: %v", err) // or what is above proves nothing
	}
}

func decoded(t *testing.T, part string) string {
	t.Helper()
	raw, err := base64.RawURLEncoding.DecodeString(part)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// TestClaims has tokens that the issuer has signed, and that are for others, or for another
// time.
func TestClaims(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	key := rsaKey(t, "a")
	i.publish(key)
	c := i.checker(t, nil)
	now := i.clock.now()
	set := func(name string, value any) func(jwt.MapClaims) {
		return func(c jwt.MapClaims) {
			if c[name] = value; value == nil {
				delete(c, name)
			}
		}
	}
	for name, test := range map[string]struct {
		edit func(jwt.MapClaims)
		want Reason
	}{
		"good":                       {nil, ""},
		"another audience":           {set("aud", "https://kubernetes.default.svc"), BadClaims},
		"an audience that begins so": {set("aud", "agentproxy2"), BadClaims},
		"an audience in capitals":    {set("aud", "AGENTPROXY"), BadClaims},
		"no audience":                {set("aud", nil), BadClaims},
		"an empty list":              {set("aud", []string{}), BadClaims},
		"a list with ours":           {set("aud", []string{"vault", "agentproxy"}), ""},
		"a list without ours":        {set("aud", []string{"vault", "https://github.com/acme"}), BadClaims},
		"an audience that is none":   {set("aud", 5), BadClaims},
		"another issuer":             {set("iss", "https://token.actions.githubusercontent.com"), ForeignIssuer},
		"the issuer with a slash":    {set("iss", i.URL+"/"), ForeignIssuer},
		"no issuer":                  {set("iss", nil), Malformed},
		"an issuer that is none":     {set("iss", []string{i.URL}), Malformed},
		"no subject":                 {set("sub", nil), BadClaims},
		"expired a moment ago":       {set("exp", now.Unix()), Expired},
		"expired long ago":           {set("exp", now.Add(-time.Hour).Unix()), Expired},
		"a second left":              {set("exp", now.Add(time.Second).Unix()), ""},
		"no end":                     {set("exp", nil), BadClaims},
		"an end that is none":        {set("exp", "tomorrow"), BadClaims},
		"an end beyond time":         {set("exp", json.Number("1e300")), BadClaims},
		"an end before the beginning": {func(c jwt.MapClaims) {
			c["iat"], c["exp"] = now.Add(50*time.Second).Unix(), now.Add(40*time.Second).Unix()
		}, BadClaims},
		"no beginning":                  {set("iat", nil), BadClaims},
		"issued in the future":          {set("iat", now.Add(MaxSkew+time.Second).Unix()), BadClaims},
		"issued by a clock ahead":       {func(c jwt.MapClaims) { c["iat"], c["nbf"] = now.Add(MaxSkew).Unix(), now.Add(MaxSkew).Unix() }, ""},
		"not yet":                       {set("nbf", now.Add(MaxSkew+time.Second).Unix()), BadClaims},
		"not before the end of time":    {set("nbf", json.Number("1e300")), BadClaims},
		"without nbf":                   {set("nbf", nil), ""},
		"fractions of seconds":          {func(c jwt.MapClaims) { c["iat"], c["exp"] = float64(now.Unix())+0.5, float64(now.Unix())+100.5 }, ""},
		"claims of no label":            {set("sub", "user:42"), NoLabel},
		"a claim that is another thing": {set("sub", map[string]any{"job:": "42"}), BadClaims},
	} {
		wantCode(t, c, name, sign(t, key, i.claims(test.edit)), test.want)
	}
	// A name twice: some readers take the first, others the last.
	payload := fmt.Sprintf(`{"iss":"https://elsewhere.example","iss":%q,"aud":"agentproxy","sub":"job:1","iat":%d,"exp":%d}`, i.URL, now.Unix(), now.Add(time.Minute).Unix())
	wantCode(t, c, "an issuer twice", signRaw(t, key, payload), Malformed)
	for _, payload := range []string{"", "null", "[]", `"x"`, "{", "\xff"} {
		wantCode(t, c, payload, signRaw(t, key, payload), Malformed)
	}
	// It was good, and is not any more.
	token := sign(t, key, i.claims(nil))
	wantCode(t, c, "now", token, "")
	i.clock.advance(10*time.Minute - time.Second)
	wantCode(t, c, "a second before its end", token, "")
	i.clock.advance(time.Second)
	wantCode(t, c, "at its end", token, Expired)
}

func signRaw(t *testing.T, key signingKey, payload string) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: key.private}, (&jose.SignerOptions{}).WithHeader("kid", key.id))
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign([]byte(payload))
	if err != nil {
		t.Fatal(err)
	}
	s, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestRotation: a new key is taken as soon as it may be fetched, and a withdrawn one is
// refused once the keys are old.
func TestRotation(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	first, second := rsaKey(t, "1"), rsaKey(t, "2")
	i.publish(first)
	c := i.checker(t, nil)
	token := func(key signingKey) string { return sign(t, key, i.claims(nil)) }
	wantCode(t, c, "the first key", token(first), "")
	i.publish(first, second)
	i.clock.advance(time.Millisecond)
	wantCode(t, c, "the second key, a moment later", token(second), Unavailable)
	_, err := c.Check(t.Context(), token(second))
	if e, ok := errors.AsType[*Error](err); !ok || e.RetryAfter <= 0 || e.RetryAfter > fetchPause {
		t.Errorf("%+v", err)
	}
	i.clock.advance(fetchPause - time.Millisecond)
	wantCode(t, c, "the second key", token(second), "")
	wantCode(t, c, "the first key, beside it", token(first), "")
	if n := i.fetches(); n != 2 {
		t.Errorf("the keys were fetched %d times, want 2", n)
	}
	i.publish(second)
	wantCode(t, c, "the first key, just withdrawn", token(first), "")
	i.clock.advance(fresh)
	wantCode(t, c, "the first key, withdrawn", token(first), BadSignature)
	wantCode(t, c, "the second key alone", token(second), "")
	// Without an id each key is tried.
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: second.private}, nil)
	if err != nil {
		t.Fatal(err)
	}
	raw, _ := json.Marshal(i.claims(nil))
	signed, _ := signer.Sign(raw)
	anonymous, _ := signed.CompactSerialize()
	wantCode(t, c, "without the key's id", anonymous, "")
}

// TestStormOfStrangers: tokens with made-up keys and issuers cause few requests, and those
// of others pass meanwhile.
func TestStormOfStrangers(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	key, stranger := ecKey(t, "a", elliptic.P256(), jwt.SigningMethodES256), edKey(t, "x")
	i.publish(key)
	c := i.checker(t, nil)
	wantCode(t, c, "before", sign(t, key, i.claims(nil)), "")
	i.clock.advance(time.Millisecond)
	var wait sync.WaitGroup
	for n := range 8 {
		wait.Go(func() {
			for m := range 10 {
				forged := sign(t, signingKey{fmt.Sprintf("made-up-%d-%d", n, m), stranger.private, stranger.method}, i.claims(nil))
				if _, err := c.Check(t.Context(), forged); codeOf(err) != Unavailable && codeOf(err) != BadSignature {
					t.Error(err)
				}
				foreign := sign(t, stranger, i.claims(func(c jwt.MapClaims) { c["iss"] = "https://192.0.2.1:1" }))
				if _, err := c.Check(t.Context(), foreign); codeOf(err) != ForeignIssuer {
					t.Error(err)
				}
				if _, err := c.Check(t.Context(), sign(t, key, i.claims(nil))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wait.Wait()
	if n := i.fetches(); n != 1 {
		t.Errorf("%d fetches without a pause between them, want 1", n)
	}
	for range 3 {
		i.clock.advance(fetchPause)
		for n := range 50 {
			_, _ = c.Check(t.Context(), sign(t, signingKey{fmt.Sprint("other-", n), stranger.private, stranger.method}, i.claims(nil)))
		}
	}
	if n := i.fetches(); n != 4 {
		t.Errorf("%d fetches in three pauses, want 4", n)
	}
}

// TestUnreachable: what was fetched is used while the issuer is away, for some hours.
func TestUnreachable(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	key := ecKey(t, "a", elliptic.P256(), jwt.SigningMethodES256)
	i.publish(key)
	broken := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) }
	i.respond(broken)
	c := i.checker(t, nil)
	for range 20 {
		wantCode(t, c, "never reached", sign(t, key, i.claims(nil)), Unavailable)
	}
	i.mu.Lock()
	if n := len(i.fetched); n != 1 {
		t.Errorf("%d requests, want 1", n)
	}
	i.mu.Unlock()
	i.respond(nil)
	i.clock.advance(fetchPause)
	wantCode(t, c, "back", sign(t, key, i.claims(nil)), "")
	i.respond(broken)
	for age := time.Duration(0); age < stale-2*fresh; age += fresh {
		i.clock.advance(fresh)
		wantCode(t, c, age.String(), sign(t, key, i.claims(nil)), "")
	}
	i.clock.advance(2 * fresh)
	wantCode(t, c, "away for long", sign(t, key, i.claims(nil)), Unavailable)
	i.respond(nil)
	i.clock.advance(fetchPause)
	wantCode(t, c, "back again", sign(t, key, i.claims(nil)), "")
}

// TestHostileIssuer has answers of issuers that are too large, lead elsewhere, or are none.
func TestHostileIssuer(t *testing.T) {
	t.Parallel()
	elsewhere := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("asked elsewhere") }))
	t.Cleanup(elsewhere.Close)
	key := rsaKey(t, "a")
	short := rsa.PublicKey{N: new(big.Int).Rsh(key.private.(*rsa.PrivateKey).N, 1024), E: 65537}
	for name, answer := range map[string]http.HandlerFunc{
		"too large": func(w http.ResponseWriter, _ *http.Request) {
			for range 200 {
				_, _ = w.Write(make([]byte, 4096))
			}
		},
		"another issuer": func(w http.ResponseWriter, r *http.Request) {
			_, _ = w.Write([]byte(`{"issuer":"https://elsewhere.example","jwks_uri":"https://` + r.Host + `/openid/v1/jwks"}`))
		},
		"keys in clear": func(w http.ResponseWriter, r *http.Request) {
			_, _ = w.Write([]byte(`{"issuer":"https://` + r.Host + `","jwks_uri":"http://` + r.Host + `/keys"}`))
		},
		"no keys": func(w http.ResponseWriter, r *http.Request) {
			_, _ = w.Write([]byte(`{"issuer":"https://` + r.Host + `"}`))
		},
		"a redirect": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, elsewhere.URL, http.StatusFound) },
		"no JSON": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte("<html>" + strings.Repeat("x", 10_000)))
		},
		"closed at once":  func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"an empty answer": func(http.ResponseWriter, *http.Request) {},
	} {
		i := newIssuer(t)
		i.publish(key)
		i.respond(answer)
		_, err := i.checker(t, nil).Check(t.Context(), sign(t, key, i.claims(nil)))
		e, ok := errors.AsType[*Error](err)
		if !ok || e.Code != Unavailable || e.Cause == nil || len(e.Cause.Error()) > maxCause+10 {
			t.Errorf("%s: %+v", name, err)
		}
	}
	// Sets with keys that none may have signed with.
	for name, set := range map[string]string{
		"a secret":      `{"keys":[{"kty":"oct","k":"c2VjcmV0","kid":"a","alg":"HS256"}]}`,
		"for secrecy":   mustJSON(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.private.Public(), KeyID: "a", Use: "enc"}}}),
		"a private key": mustJSON(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.private, KeyID: "a", Use: "sig"}}}),
		"a short key":   mustJSON(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: &short, KeyID: "a", Use: "sig"}}}),
		"none":          `{"keys":[]}`,
		"null":          `null`,
		"a list":        `[]`,
		"too many":      `{"keys":[` + strings.Repeat(`{},`, maxKeys) + `{}]}`,
	} {
		if keys, err := parseKeys([]byte(set)); err == nil {
			t.Errorf("%s: %+v", name, keys)
		}
	}
	mixed := `{"keys":[{"kty":"AKP","kid":"pq"},5,` + mustJSON(key.jwk()) + `]}`
	if keys, err := parseKeys([]byte(mixed)); err != nil || len(keys) != 1 {
		t.Errorf("%d keys, %v", len(keys), err)
	}
}

func mustJSON(v any) string {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(raw)
}

// TestTokenForIssuer: the token of token_file goes to the servers that the configuration
// names, as it is in the file now, and to nobody else.
func TestTokenForIssuer(t *testing.T) {
	t.Parallel()
	i, other := newIssuer(t), newIssuer(t)
	key := rsaKey(t, "a")
	i.publish(key)
	other.publish(key)
	i.jwksURI = other.URL + "/openid/v1/jwks"
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("first\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	trusting := i.Client().Transport.(*http.Transport).Clone()
	trusting.TLSClientConfig.RootCAs.AddCert(other.Certificate())
	shown := func(i *testIssuer) (list []string) {
		i.mu.Lock()
		defer i.mu.Unlock()
		for _, r := range i.fetched {
			list = append(list, r.Header.Get("Authorization"))
		}
		return list
	}
	wantCode(t, i.checker(t, func(c *Issuer) { c.TokenFile, c.Transport = file, trusting }), "by discovery", sign(t, key, i.claims(nil)), "")
	if a, b := shown(i), shown(other); len(a) != 1 || a[0] != "Bearer first" || len(b) != 1 || b[0] != "" {
		t.Errorf("%q, %q", a, b)
	}
	if err := os.WriteFile(file, []byte("second"), 0o600); err != nil {
		t.Fatal(err)
	}
	wantCode(t, i.checker(t, func(c *Issuer) {
		c.TokenFile, c.Transport, c.KeysURL = file, trusting, other.URL+"/openid/v1/jwks"
	}), "by keys_url", sign(t, key, i.claims(nil)), "")
	if b := shown(other); len(b) != 2 || b[1] != "Bearer second" {
		t.Errorf("%q", b)
	}
	_, err := i.checker(t, func(c *Issuer) { c.TokenFile = filepath.Join(t.TempDir(), "none") }).Check(t.Context(), sign(t, key, i.claims(nil)))
	if e, ok := errors.AsType[*Error](err); !ok || e.Code != Unavailable || !strings.Contains(e.Cause.Error(), "token_file") {
		t.Errorf("%+v", err)
	}
}

// TestSingleUse takes a token once, whatever its signature's bytes are, and remembers it
// until it has expired.
func TestSingleUse(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	key := ecKey(t, "a", elliptic.P256(), jwt.SigningMethodES256)
	i.publish(key)
	once := i.checker(t, func(c *Issuer) { c.SingleUse = true })
	claims := i.claims(nil)
	wantCode(t, once, "first", sign(t, key, claims), "")
	wantCode(t, once, "again", sign(t, key, claims), Replayed) // with another signature
	wantCode(t, once, "another", sign(t, key, i.claims(func(c jwt.MapClaims) { c["jti"] = "other" })), "")
	wantCode(t, once, "without an id", sign(t, key, i.claims(func(c jwt.MapClaims) { delete(c, "jti") })), BadClaims)
	many := i.checker(t, nil)
	wantCode(t, many, "many times", sign(t, key, claims), "")
	wantCode(t, many, "many times", sign(t, key, claims), "")

	// At once, one gets it.
	claims = i.claims(func(c jwt.MapClaims) { c["jti"] = "race" })
	var wait sync.WaitGroup
	var mu sync.Mutex
	taken := 0
	for range 16 {
		token := sign(t, key, claims)
		wait.Go(func() {
			if _, err := once.Check(t.Context(), token); err == nil {
				mu.Lock()
				defer mu.Unlock()
				taken++
			}
		})
	}
	wait.Wait()
	if taken != 1 {
		t.Errorf("it was taken %d times", taken)
	}

	u, now := NewUsed(), i.clock.now()
	for n := range maxUsed {
		if refused := u.take("x", map[string]any{"jti": fmt.Sprint(n)}, now.Add(time.Minute), now); refused != nil {
			t.Fatal(refused)
		}
	}
	if refused := u.take("x", map[string]any{"jti": "more"}, now.Add(time.Minute), now); refused == nil || refused.Code != Unavailable {
		t.Errorf("one more: %v", refused)
	}
	if refused := u.take("x", map[string]any{"jti": "0"}, now, now.Add(2*time.Second)); refused == nil || refused.Code != Replayed {
		t.Errorf("the first, again: %v", refused)
	}
	if refused := u.take("x", map[string]any{"jti": "more"}, now.Add(time.Hour), now.Add(2*time.Minute)); refused != nil || len(u.until) != 1 {
		t.Errorf("later: %v, %d are remembered", refused, len(u.until))
	}
}

// FuzzCheck: nothing but what the issuer has signed passes.
func FuzzCheck(f *testing.F) {
	f.Add("eyJhbGciOiJSUzI1NiIsImtpZCI6ImEifQ.eyJpc3MiOiJ4In0.AAAA")
	f.Add("..")
	f.Add("eyJhbGciOiJub25lIn0.e30.")
	key := jose.JSONWebKey{Key: rsaPublic(f), KeyID: "a"}
	set, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{key}})
	if err != nil {
		f.Fatal(err)
	}
	label, _ := ParseLabel(map[string]string{"sub": "x*"}, "jobs-{sub}")
	c := New([]Issuer{{URL: "x", Audience: "a", KeysURL: "https://keys.example", Labels: []Label{label}, Transport: canned(set)}}, NewUsed(), newClock().now)
	f.Fuzz(func(t *testing.T, token string) {
		if id, err := c.Check(t.Context(), token); err == nil || codeOf(err) == "" {
			t.Errorf("%q: %+v, %v", token, id, err)
		}
	})
}

func rsaPublic(f *testing.F) *rsa.PublicKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		f.Fatal(err)
	}
	return &key.PublicKey
}

// canned answers every request with the same.
type canned []byte

// RoundTrip implements [http.RoundTripper].
func (c canned) RoundTrip(*http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	_, _ = w.Write(c)
	return w.Result(), nil
}
