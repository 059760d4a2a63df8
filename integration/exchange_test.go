//go:build linux

package integration

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/go-jose/go-jose/v4"
	"github.com/golang-jwt/jwt/v5"
)

// apiServer plays the part of kube-apiserver that pods' tokens concern: it makes them, and
// shows its keys to those who have one.
type apiServer struct {
	*httptest.Server
	fetches atomic.Int64

	mu   sync.Mutex
	keys []jose.JSONWebKey
}

func newAPIServer(t *testing.T) *apiServer {
	t.Helper()
	a := new(apiServer)
	a.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.fetches.Add(1)
		if r.Header.Get("Authorization") != "Bearer the-pods-own" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		a.mu.Lock()
		defer a.mu.Unlock()
		switch r.URL.Path {
		case "/.well-known/openid-configuration":
			_ = json.NewEncoder(w).Encode(map[string]any{
				"issuer": a.URL, "jwks_uri": a.URL + "/openid/v1/jwks", "response_types_supported": []string{"id_token"},
				"subject_types_supported": []string{"public"}, "id_token_signing_alg_values_supported": []string{"RS256"},
			})
		case "/openid/v1/jwks":
			w.Header().Set("Content-Type", "application/jwk-set+json")
			_ = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: a.keys})
		}
	}))
	t.Cleanup(a.Close)
	return a
}

// newKey adds a key to those that the server shows. Its id is made as kube-apiserver makes
// it (keyIDFromPublicKey in pkg/serviceaccount/jwt.go of Kubernetes).
func (a *apiServer) newKey(t *testing.T) (key *rsa.PrivateKey, id string) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(der)
	id = base64.RawURLEncoding.EncodeToString(sum[:])
	a.mu.Lock()
	defer a.mu.Unlock()
	a.keys = append(a.keys, jose.JSONWebKey{Key: key.Public(), KeyID: id, Algorithm: string(jose.RS256), Use: "sig"})
	return key, id
}

// podToken returns a token that is bound to a pod, with the claims that kube-apiserver gives
// it (pkg/serviceaccount/claims.go).
func (a *apiServer) podToken(t *testing.T, key any, id string, method jwt.SigningMethod, pod string, edit func(jwt.MapClaims)) string {
	t.Helper()
	now := time.Now()
	claims := jwt.MapClaims{
		"aud": []string{"agentproxy"}, "exp": now.Add(3607 * time.Second).Unix(), "iat": now.Unix(), "nbf": now.Unix(), "iss": a.URL,
		"jti": "7b2c1b35-5f8e-4f3a-9b0e-3f1e6a1f0c55", "sub": "system:serviceaccount:ci:builder",
		"kubernetes.io": map[string]any{
			"namespace":      "ci",
			"node":           map[string]any{"name": "node-1", "uid": "0f3c9f2e-58a7-4d3e-a0c6-7a2b1f0f9d11"},
			"pod":            map[string]any{"name": pod, "uid": "c5a0d6d8-54b2-4c0b-8f5f-1f6f7d0a9e21"},
			"serviceaccount": map[string]any{"name": "builder", "uid": "9a4be8ac-6a5c-49a6-8a7d-3d3d6c1a2f10"},
			"warnafter":      now.Add(1800 * time.Second).Unix(),
		},
	}
	if edit != nil {
		edit(claims)
	}
	token := jwt.NewWithClaims(method, claims)
	token.Header["kid"] = id
	delete(token.Header, "typ") // go-jose, which kube-apiserver signs with, sets none
	signed, err := token.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

var answeringWorkloads = regexp.MustCompile(`(?m)^agentproxy: answering workloads on (\S+)$`)

// TestWorkloads has pods get client tokens for their service account's, use them, and lose
// them; and strangers get none.
func TestWorkloads(t *testing.T) {
	t.Parallel()
	api := newAPIServer(t)
	key, id := api.newKey(t)
	f := newFixture(t, fixtureConfig{})
	dir := filepath.Dir(f.config)
	writeFile(t, filepath.Join(dir, "api-ca.pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: api.Certificate().Raw}))
	writeFile(t, filepath.Join(dir, "api-token"), []byte("the-pods-own\n"))
	f.edit(t, "other_hosts: refuse", fmt.Sprintf(`other_hosts: refuse
clients: {issued: only}
profiles: [{name: builds, labels: ["ci-*"], limits: {requests_per_minute: 1000, streams: 10}}, {name: others, labels: ["*"], refuse: true}]
exchange:
  listen: 127.0.0.1:0
  issuers:
    - issuer: %s
      audience: agentproxy
      ca_file: %s/api-ca.pem
      token_file: %[2]s/api-token
      labels:
        - {claims: {kubernetes.io/namespace: ci, kubernetes.io/serviceaccount/name: builder}, label: "ci-{kubernetes.io/pod/name}"}
`, api.URL, dir))
	p := f.start(t, baseEnv(t), agentproxy, "serve", "--config", f.config)
	address := "http://" + answeringWorkloads.FindStringSubmatch(p.log.String())[1]

	// get runs the command in the pod.
	get := func(token string) (stdout, stderr string, ok bool) {
		t.Helper()
		file := filepath.Join(t.TempDir(), "token")
		writeFile(t, file, []byte(token))
		cmd := command(t, baseEnv(t), agentproxy, "token", "exchange", "--url", address, "--token-file", file)
		var out, errs bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &errs
		ok = cmd.Run() == nil
		return strings.TrimSpace(out.String()), errs.String(), ok
	}
	pod := func(name string, edit func(jwt.MapClaims)) string {
		return api.podToken(t, key, id, jwt.SigningMethodRS256, name, edit)
	}
	given, said, ok := get(pod("runner-1", nil))
	if !ok || !strings.Contains(said, "ci-runner-1") || !strings.HasPrefix(given, "eyJ") {
		t.Fatalf("%q, %s", given, said)
	}
	roots := p.roots(t)
	client := func(user, password string) *http.Client {
		via := &url.URL{Scheme: "http", Host: p.addr, User: url.UserPassword(user, password)}
		transport := &http.Transport{Proxy: http.ProxyURL(via), TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}}
		t.Cleanup(transport.CloseIdleConnections)
		return &http.Client{Transport: transport}
	}
	ask := func(user, password string) string {
		t.Helper()
		res, err := client(user, password).Get("https://chatgpt.com/backend-api/test/echo")
		if err != nil {
			return err.Error()
		}
		res.Body.Close()
		return res.Status
	}
	const closed = "Proxy Authentication Required"
	for _, user := range []string{"ci-runner-1", ""} {
		if got := ask(user, given); got != "200 OK" {
			t.Errorf("%q with its token: %s", user, got)
		}
	}
	if got := ask("ci-runner-2", given); !strings.Contains(got, closed) {
		t.Errorf("another label with the token: %s", got)
	}
	if got := ask("ci-runner-1", pod("runner-1", nil)); !strings.Contains(got, closed) {
		t.Errorf("the service account's own token: %s", got)
	}

	// What strangers show gets nothing, and costs the issuer little.
	before := api.fetches.Load()
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, _ := x509.MarshalPKIXPublicKey(key.Public())
	good := strings.Split(pod("runner-1", nil), ".")
	head := func(alg string) string {
		return base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, `{"alg":%q,"kid":%q}`, alg, id))
	}
	for name, token := range map[string]string{
		"no algorithm":             head("none") + "." + good[1] + ".",
		"HS256 with the key":       api.podToken(t, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), id, jwt.SigningMethodHS256, "runner-1", nil),
		"another curve":            api.podToken(t, ec, id, jwt.SigningMethodES256, "runner-1", nil),
		"for the API server":       pod("runner-1", func(c jwt.MapClaims) { c["aud"] = []string{api.URL} }),
		"expired":                  pod("runner-1", func(c jwt.MapClaims) { c["exp"] = time.Now().Add(-time.Second).Unix() }),
		"not good yet":             pod("runner-1", func(c jwt.MapClaims) { c["nbf"] = time.Now().Add(time.Hour).Unix() }),
		"of another namespace":     pod("runner-1", func(c jwt.MapClaims) { c["kubernetes.io"].(map[string]any)["namespace"] = "prod" }),
		"of another issuer":        pod("runner-1", func(c jwt.MapClaims) { c["iss"] = "https://127.0.0.1:1" }),
		"altered":                  good[0] + "." + strings.Replace(good[1], good[1][20:24], "AAAA", 1) + "." + good[2],
		"a client token":           given,
		"a pod's name with a line": pod("x\ny", nil),
		"nothing that is one":      "x",
	} {
		if out, said, ok := get(token); ok || out != "" {
			t.Errorf("%s: %q, %s", name, out, said)
		}
	}
	if n := api.fetches.Load() - before; n > 2 {
		t.Errorf("strangers caused %d requests to the issuer", n)
	}

	// A live stream ends within moments of its token; another's goes on.
	open := func(label, token string) (*websocket.Conn, error) {
		conn, _, err := websocket.Dial(t.Context(), "wss://chatgpt.com/backend-api/test/ws-echo", &websocket.DialOptions{HTTPClient: client(label, token)})
		if err == nil {
			t.Cleanup(func() { _ = conn.CloseNow() })
		}
		return conn, err
	}
	echo := func(conn *websocket.Conn) error {
		if err := conn.Write(t.Context(), websocket.MessageText, []byte("x")); err != nil {
			return err
		}
		_, _, err := conn.Read(t.Context())
		return err
	}
	stays, err := open("ci-runner-1", given)
	if err != nil {
		t.Fatal(err)
	}
	if err := echo(stays); err != nil {
		t.Fatal(err)
	}
	var end time.Time
	var short string
	var ends *websocket.Conn
	for life := 10 * time.Second; ends == nil; life *= 2 { // a slow machine has to get there before
		end = time.Now().Add(life).Truncate(time.Second)
		if short, said, ok = get(pod("runner-2", func(c jwt.MapClaims) { c["exp"] = end.Unix() })); ok {
			ends, err = open("ci-runner-2", short)
		}
		if ends == nil && time.Now().Before(end) {
			t.Fatal(said, err)
		}
	}
	eventually(t, "the end of the stream with its token", func() bool { return echo(ends) != nil })
	if early := time.Until(end); early > 0 {
		t.Errorf("the stream ended %s before its token", early)
	}
	t.Logf("the stream ended %s after its token", time.Since(end).Round(10*time.Millisecond))
	if got := ask("ci-runner-2", short); !strings.Contains(got, closed) {
		t.Errorf("an expired token: %s", got)
	}
	if err := echo(stays); err != nil {
		t.Errorf("the other's stream: %v", err)
	}
	former := pod("runner-1", nil)
	mustRun(t, baseEnv(t), agentproxy, "token", "revoke", "--label", "ci-runner-1", "--config", f.config)
	eventually(t, "the end of the revoked stream", func() bool { return echo(stays) != nil })
	if out, _, ok := get(former); ok {
		t.Errorf("a proof from before the revocation got %s", out)
	}

	// A key that the issuer adds is taken, when its keys may be fetched again.
	key, id = api.newKey(t)
	if out, said, ok := get(pod("runner-3", nil)); !ok || ask("ci-runner-3", out) != "200 OK" {
		t.Errorf("with a new key: %s", said)
	}

	for _, secret := range []string{given, short, former, "the-pods-own"} {
		if strings.Contains(p.log.String(), secret) {
			t.Error("the log holds a token")
		}
	}
}

// TestWorkloadsAtAdminPort asks at the admin port, which lets workloads do that and nothing
// else.
func TestWorkloadsAtAdminPort(t *testing.T) {
	t.Parallel()
	api := newAPIServer(t)
	key, id := api.newKey(t)
	f := newFixture(t, fixtureConfig{yaml: "clients: {issued: only}"})
	dir := filepath.Dir(f.config)
	writeFile(t, filepath.Join(dir, "api-ca.pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: api.Certificate().Raw}))
	writeFile(t, filepath.Join(dir, "api-token"), []byte("the-pods-own"))
	admin := freeAddress(t)
	f.edit(t, `admin: ""`, fmt.Sprintf(`admin: %s
admin_token: the-operators
exchange:
  issuers: [{issuer: %q, audience: agentproxy, ca_file: %[3]s/api-ca.pem, token_file: %[3]s/api-token, labels: [{claims: {sub: "system:serviceaccount:ci:*"}, label: "{kubernetes.io/pod/uid}"}]}]`,
		admin, api.URL, dir))
	p := f.start(t, baseEnv(t), agentproxy, "serve", "--config", f.config)
	do := func(method, path, host string, form url.Values) (int, string) {
		t.Helper()
		r, err := http.NewRequest(method, "http://"+admin+path, strings.NewReader(form.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		r.Host = host
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, string(body)
	}
	form := url.Values{
		"grant_type":         {"urn:ietf:params:oauth:grant-type:token-exchange"},
		"subject_token_type": {"urn:ietf:params:oauth:token-type:jwt"},
		"subject_token":      {api.podToken(t, key, id, jwt.SigningMethodRS256, "runner-1", nil)},
	}
	status, body := do(http.MethodPost, "/token", "agentproxy.agents.svc:9080", form)
	var given struct {
		Token string `json:"access_token"`
		Label string
	}
	if err := json.Unmarshal([]byte(body), &given); status != http.StatusOK || err != nil || given.Label != "c5a0d6d8-54b2-4c0b-8f5f-1f6f7d0a9e21" {
		t.Fatalf("%d %s", status, body)
	}
	out := mustRun(t, append(os.Environ(), "HTTPS_PROXY=http://"+given.Label+":"+given.Token+"@"+p.addr), "curl", "-s", "--cacert", filepath.Join(f.stateDir, "ca", "ca.pem"), "-o", "/dev/null", "-w", "%{http_code}", "https://chatgpt.com/backend-api/test/echo")
	if strings.TrimSpace(out) != "200" {
		t.Errorf("curl got %s", out)
	}
	for _, path := range []string{"/", "/metrics", "/readyz", "/status.json", "/token/", "/token/../metrics"} {
		if status, body := do(http.MethodGet, path, admin, nil); status == http.StatusOK {
			t.Errorf("%s without admin_token: %d %.100s", path, status, body)
		}
	}
	// A reload counts at once.
	fetched := api.fetches.Load()
	p.reconfigure(t, "label: \"{kubernetes.io/pod/uid}\"", "label: \"{kubernetes.io/pod/name}\"")
	if status, body := do(http.MethodPost, "/token", admin, form); status != http.StatusOK || !strings.Contains(body, `"label":"runner-1"`) {
		t.Errorf("after a reload: %d %s", status, body)
	}
	p.reconfigure(t, "system:serviceaccount:ci:*", "system:serviceaccount:prod:*")
	if status, body := do(http.MethodPost, "/token", admin, form); status != http.StatusBadRequest || !strings.Contains(body, `"code":"no_label"`) {
		t.Errorf("after the rule was taken away: %d %s", status, body)
	}
	if n := api.fetches.Load() - fetched; n > 4 {
		t.Errorf("two reloads caused %d requests to the issuer", n)
	}
	form.Set("subject_token", "x")
	if status, body := do(http.MethodPost, "/token", admin, form); status != http.StatusBadRequest || !strings.Contains(body, `"code":"malformed"`) {
		t.Errorf("%d %s", status, body)
	}
}
