package exchange

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/golang-jwt/jwt/v5"
	"github.com/rs/zerolog"

	"github.com/agentproxy/agentproxy/proxy/access/issued"
	"github.com/agentproxy/agentproxy/proxy/access/ratelimit"
	"github.com/agentproxy/agentproxy/proxy/access/workload"
)

// syncBuffer is a log that goroutines write to.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// fixture is an exchange that takes the tokens "good NAME" and "ends SECONDS".
type fixture struct {
	*Handler
	tokens  string // the directory of the client tokens
	config  Config
	log     syncBuffer
	mu      sync.Mutex
	results map[string]int
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{tokens: t.TempDir(), results: make(map[string]int)}
	f.config = Config{
		Check: func(_ context.Context, token string) (*workload.Identity, error) {
			now := time.Now()
			switch {
			case token == "good":
				return &workload.Identity{Issuer: "https://issuer.example", Subject: "job:1", Label: "job-1", Issued: now, Expires: now.Add(10 * time.Minute)}, nil
			case token == "old":
				return &workload.Identity{Issuer: "https://issuer.example", Subject: "job:1", Label: "job-1", Issued: now.Add(-time.Hour), Expires: now.Add(10 * time.Minute)}, nil
			case token == "outlived":
				return &workload.Identity{Label: "job-1", Issued: now, Expires: now.Add(time.Second), Outlive: true}, nil
			case token == "ends":
				return &workload.Identity{Label: "job-1", Issued: now, Expires: now}, nil
			case token == "later":
				return nil, &workload.Error{Code: workload.Unavailable, Message: "come again", RetryAfter: 1500 * time.Millisecond, Cause: errors.New("the issuer is away")}
			case token == "broken":
				return nil, errors.New("broken")
			}
			return nil, &workload.Error{Code: workload.BadSignature, Message: "it was altered"}
		},
		Tokens: issued.Open(f.tokens, time.Now, func(error) {}),
		TTL:    5 * time.Minute,
		Log:    zerolog.New(&f.log),
	}
	f.Handler = New(func() (Config, func()) { return f.config, func() {} }, func(result string) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.results[result]++
	})
	t.Cleanup(f.Close)
	return f
}

// TestSlowBody waits for no body for ever, at a listener that bounds no more than heads: the
// configuration would be in use as long.
func TestSlowBody(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.patience = 10 * time.Millisecond
	server := httptest.NewServer(f)
	defer server.Close()
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 9\r\n\r\n", Path)
	answer, err := io.ReadAll(conn)
	if !strings.HasPrefix(string(answer), "HTTP/1.1 400 ") || err != nil {
		t.Errorf("%q, %v", answer, err)
	}
}

func form(edit func(url.Values)) url.Values {
	v := url.Values{"grant_type": {grantType}, "subject_token_type": {typeJWT}, "subject_token": {"good"}}
	if edit != nil {
		edit(v)
	}
	return v
}

func post(body string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, Path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	return r
}

func (f *fixture) ask(r *http.Request) (*httptest.ResponseRecorder, map[string]any) {
	w := httptest.NewRecorder()
	f.ServeHTTP(w, r)
	var body map[string]any
	_ = json.Unmarshal(w.Body.Bytes(), &body)
	return w, body
}

func TestExchange(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	w, body := f.ask(post(form(nil).Encode()))
	secret, _ := body["access_token"].(string)
	if w.Code != http.StatusOK || body["label"] != "job-1" || body["token_type"] != "N_A" || body["issued_token_type"] != typeAccessToken || w.Header().Get("Cache-Control") != "no-store" {
		t.Fatalf("%d %v %v", w.Code, body, w.Header())
	}
	token, err := f.config.Tokens.Check(secret)
	if err != nil || token.Label != "job-1" {
		t.Fatalf("%+v, %v", token, err)
	}
	if left := time.Until(token.Expires); left > 5*time.Minute || left < 4*time.Minute || body["expires_in"].(float64) > 300 {
		t.Errorf("it is good for %s, %v", left, body["expires_in"])
	}
	if log := f.log.String(); strings.Contains(log, secret) || !strings.Contains(log, `"client":"job-1"`) || !strings.Contains(log, token.ID) || !strings.Contains(log, "job:1") {
		t.Errorf("the log: %s", log)
	}
	if w, body := f.ask(post(form(func(v url.Values) { v.Set("subject_token", "outlived") }).Encode())); w.Code != http.StatusOK || body["expires_in"].(float64) < 200 {
		t.Errorf("a token that may be outlived: %d %v", w.Code, body)
	}
	// What carries a second that is to come is good from now on all the same.
	ahead := issued.Open(f.tokens, func() time.Time { return time.Now().Add(3 * time.Hour) }, func(error) {})
	if _, _, err := ahead.Issue(t.Context(), "job-1", time.Hour); err != nil {
		t.Fatal(err)
	}
	if err := f.config.Tokens.RevokeLabel(t.Context(), "job-1"); err != nil {
		t.Fatal(err)
	}
	if w, body := f.ask(post(form(nil).Encode())); w.Code != http.StatusOK || body["expires_in"].(float64) < 200 || body["expires_in"].(float64) > 300 {
		t.Errorf("after the clock was set back: %d %v", w.Code, body)
	}
	// A proof from before the label was revoked gives no other token.
	if err := f.config.Tokens.RevokeLabel(t.Context(), "job-1"); err != nil {
		t.Fatal(err)
	}
	if w, body := f.ask(post(form(func(v url.Values) { v.Set("subject_token", "old") }).Encode())); w.Code != http.StatusBadRequest || body["code"] != Revoked {
		t.Errorf("%d %v", w.Code, body)
	}
}

// TestRefused has what strangers send.
func TestRefused(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	set := func(name string, values ...string) *http.Request {
		return post(form(func(v url.Values) { v[name] = values }).Encode())
	}
	header := func(r *http.Request, name, value string) *http.Request {
		r.Header.Set(name, value)
		return r
	}
	get := httptest.NewRequest(http.MethodGet, Path+"?"+form(nil).Encode(), nil)
	inQuery := httptest.NewRequest(http.MethodPost, Path+"?"+form(nil).Encode(), strings.NewReader(""))
	for _, test := range []struct {
		name   string
		r      *http.Request
		status int
		result string
	}{
		{"GET", get, 405, BadRequest},
		{"in the query", header(inQuery, "Content-Type", "application/x-www-form-urlencoded"), 400, BadRequest},
		{"another path", httptest.NewRequest(http.MethodPost, "/", nil), 404, BadRequest},
		{"JSON", header(post(`{"subject_token":"good"}`), "Content-Type", "application/json"), 400, BadRequest},
		{"no type", header(post(form(nil).Encode()), "Content-Type", ""), 400, BadRequest},
		{"a web page", header(post(form(nil).Encode()), "Origin", "https://evil.example"), 403, BadRequest},
		{"another grant", set("grant_type", "client_credentials"), 400, BadRequest},
		{"no grant", set("grant_type"), 400, BadRequest},
		{"another kind of token", set("subject_token_type", "urn:ietf:params:oauth:token-type:saml2"), 400, BadRequest},
		{"another token wanted", set("requested_token_type", "urn:ietf:params:oauth:token-type:refresh_token"), 400, BadRequest},
		{"for an actor", set("actor_token", "good"), 400, BadRequest},
		{"twice", set("subject_token", "bad", "good"), 400, BadRequest},
		{"none", set("subject_token"), 400, BadRequest},
		{"too large", set("subject_token", strings.Repeat("x", maxBody)), 400, BadRequest},
		{"no form", post("%zz"), 400, BadRequest},
		{"nothing", post(""), 400, BadRequest},
		{"altered", set("subject_token", "bad"), 400, string(workload.BadSignature)},
		{"expired meanwhile", set("subject_token", "ends"), 400, string(workload.Expired)},
		{"not to be checked now", set("subject_token", "later"), 503, string(workload.Unavailable)},
		{"not to be checked", set("subject_token", "broken"), 503, Failed},
	} {
		before := f.results[test.result]
		w, body := f.ask(test.r)
		if w.Code != test.status || body["code"] != test.result || body["error"] == "" || body["error_description"] == "" || body["access_token"] != nil {
			t.Errorf("%s: %d %v", test.name, w.Code, body)
		}
		if f.results[test.result] != before+1 {
			t.Errorf("%s: %v", test.name, f.results)
		}
		if after := w.Header().Get("Retry-After"); (after != "") != (test.status == 503) {
			t.Errorf("%s: Retry-After %q", test.name, after)
		}
		if strings.Contains(w.Body.String(), "away") || w.Header().Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s: %s", test.name, w.Body)
		}
	}
	known := strings.Join(Results(), " ")
	for result := range f.results {
		if !strings.Contains(known, result) {
			t.Errorf("the result %s is none of Results", result)
		}
	}
	f.config.Check = nil
	if w, _ := f.ask(post(form(nil).Encode())); w.Code != http.StatusNotFound {
		t.Errorf("without issuers: %d", w.Code)
	}
}

// TestStrangersAreBounded: one address may ask so often, and fills no log.
func TestStrangersAreBounded(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	over := 0
	for range perMinute + 50 {
		w, body := f.ask(post(form(func(v url.Values) { v.Set("subject_token", "bad") }).Encode()))
		if w.Code == http.StatusTooManyRequests {
			over++
			if after, err := strconv.Atoi(w.Header().Get("Retry-After")); body["code"] != TooManyAsked || err != nil || after < 1 || after > 61 {
				t.Errorf("%v %v", body, w.Header())
			}
		}
	}
	if over < 50 || over > 52 {
		t.Errorf("%d were refused, want 50", over)
	}
	f.Close()
	if lines := strings.Count(f.log.String(), "\n"); lines > 20 || !strings.Contains(f.log.String(), `"times":`) {
		t.Errorf("%d lines in the log", lines)
	}
	total := 0
	for _, n := range f.results {
		total += n
	}
	if total != perMinute+50 {
		t.Errorf("%d were counted", total)
	}
}

// TestServe serves over the network, and bounds what a stranger can hold there.
func TestServe(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- Serve(ctx, l, f.Handler) }()
	address := "http://" + l.Addr().String()
	given, err := Ask(t.Context(), http.DefaultClient, address+"/", "good")
	if err != nil || given.Label != "job-1" || given.Expires <= 0 || given.Expires > 5*time.Minute {
		t.Fatalf("%+v, %v", given, err)
	}
	if _, err := f.config.Tokens.Check(given.Secret); err != nil {
		t.Error(err)
	}
	if _, err := Ask(t.Context(), http.DefaultClient, address, "bad"); err == nil || err.Error() != "it was altered" {
		t.Errorf("%v", err)
	}
	// Many connections that say nothing are one client's, who is told.
	var open []net.Conn
	for range connsPerClient + 4 {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_, _ = fmt.Fprintf(c, "POST /token HTTP/1.1\r\n")
		open = append(open, c)
	}
	told := make(chan string, len(open))
	for _, c := range open {
		go func() {
			raw, _ := io.ReadAll(c)
			told <- string(raw)
		}()
	}
	got := ""
	for range open {
		if got = <-told; got != "" { // or a slow machine has had its time end
			break
		}
	}
	if !strings.Contains(got, " 503 ") || !strings.Contains(got, TooManyAsked) {
		t.Errorf("one connection too many: %q", got)
	}
	cancel()
	if err := <-served; err != nil {
		t.Error(err)
	}
}

// TestAskAgain comes again when it is told to, and not when there is no use.
func TestAskAgain(t *testing.T) {
	t.Parallel()
	times := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		times++
		if times < 3 {
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		_ = r.ParseForm()
		if r.PostForm.Get("subject_token") != "good" || r.URL.Path != Path {
			t.Errorf("%s %v", r.URL, r.PostForm)
		}
		_, _ = w.Write([]byte(`{"access_token":"x","label":"y","expires_in":5}`))
	}))
	t.Cleanup(server.Close)
	if given, err := Ask(t.Context(), server.Client(), server.URL, "good"); err != nil || given != (Token{"x", "y", 5 * time.Second}) || times != 3 {
		t.Errorf("%+v, %v after %d", given, err, times)
	}
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) }))
	t.Cleanup(page.Close)
	if _, err := Ask(t.Context(), page.Client(), page.URL, "good"); err == nil || !strings.Contains(err.Error(), "exchange.listen") {
		t.Errorf("%v", err)
	}
}

// TestResultsAreDocumented holds the table of docs/workloads.md to the program.
func TestResultsAreDocumented(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile("../../../docs/workloads.md")
	if err != nil {
		t.Fatal(err)
	}
	var told []string
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\| [0-9]").FindAllStringSubmatch(string(raw), -1) {
		told = append(told, m[1])
	}
	want := Results()
	slices.Sort(told)
	slices.Sort(want)
	if !slices.Equal(told, want) {
		t.Errorf("docs/workloads.md has %q, the program %q", told, want)
	}
}

// keySet answers every request with a set of keys.
type keySet []byte

// RoundTrip implements [http.RoundTripper].
func (k keySet) RoundTrip(*http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	_, _ = w.Write(k)
	return w.Result(), nil
}

// BenchmarkExchange exchanges a token that is signed as Kubernetes signs.
func BenchmarkExchange(b *testing.B) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		b.Fatal(err)
	}
	set, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "a", Use: "sig"}}})
	if err != nil {
		b.Fatal(err)
	}
	now := time.Now()
	unsigned := jwt.NewWithClaims(jwt.SigningMethodRS256, jwt.MapClaims{
		"iss": "https://a.example", "aud": []string{"b"}, "sub": "system:serviceaccount:ci:builder", "iat": now.Unix(), "exp": now.Add(time.Hour).Unix(),
	})
	unsigned.Header["kid"] = "a"
	token, err := unsigned.SignedString(key)
	if err != nil {
		b.Fatal(err)
	}
	label, err := workload.ParseLabel(map[string]string{"sub": "system:serviceaccount:ci:*"}, "ci")
	if err != nil {
		b.Fatal(err)
	}
	checker := workload.New([]workload.Issuer{{URL: "https://a.example", Audience: "b", KeysURL: "https://a.example/keys", Labels: []workload.Label{label}, Transport: keySet(set)}}, workload.NewUsed(), time.Now)
	config := Config{Check: checker.Check, Tokens: issued.Open(b.TempDir(), time.Now, func(error) {}), TTL: time.Hour, Log: zerolog.Nop()}
	h := New(func() (Config, func()) { return config, func() {} }, func(string) {})
	defer h.Close()
	body := form(func(v url.Values) { v.Set("subject_token", token) }).Encode()
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		if n%perMinute == 0 {
			h.asked = ratelimit.New(time.Now) // or it would be too many
		}
		w := httptest.NewRecorder()
		if h.ServeHTTP(w, post(body)); w.Code != http.StatusOK {
			b.Fatal(w.Body)
		}
	}
}

// TestAskWantsAToken takes nothing from a server that is no token, or no label.
func TestAskWantsAToken(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]bool{
		`{"access_token": "eyJ.a.b", "label": "a"}`:          true,
		`{"access_token": "", "label": "a"}`:                 false,
		`{"access_token": "eyJ.a.b\n; id", "label": "a"}`:    false,
		`{"access_token": "eyJ\u001b[2J", "label": "a"}`:     false,
		`{"access_token": "eyJ\u009b2J", "label": "a"}`:      false,
		`{"access_token": "eyJ.a.b", "label": "a\u001b[2J"}`: false,
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) }))
		given, err := Ask(t.Context(), server.Client(), server.URL, "token")
		server.Close()
		if (err == nil) != want || (given.Secret == "eyJ.a.b") != want {
			t.Errorf("%s: %+v, %v", body, given, err)
		}
	}
}

// TestShortened cuts a subject between runes.
func TestShortened(t *testing.T) {
	t.Parallel()
	a, umlauts := strings.Repeat("a", maxSubject), strings.Repeat("ä", maxSubject/2)
	for given, want := range map[string]string{"": "", a: a, a + "b": a + "…", umlauts: umlauts, "b" + umlauts: "b" + umlauts[:maxSubject-2] + "…"} {
		if got := shortened(given); got != want {
			t.Errorf("%q is shortened to %q, want %q", given, got, want)
		}
	}
}
