package signer

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/agentproxy/agentproxy/identity"
	"github.com/agentproxy/agentproxy/identity/codex"
)

// TestMain has the test binary be the program of a signer.command where its
// arguments ask for that.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "program" {
		os.Exit(program(os.Args[2], os.Args[3:]))
	}
	// Else, with the race detector, each program takes a second to end.
	os.Setenv("GORACE", "atexit_sleep_ms=0")
	os.Exit(m.Run())
}

// start is when the tests' clocks begin.
var start = time.Date(2026, 4, 15, 12, 0, 0, 0, time.UTC)

// clock is a clock that is put forward by hand.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func newClock() *clock { return &clock{at: start} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) forward(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// fixed is a signer that always answers the same.
type fixed struct {
	auth *Authorization
	err  error
}

func (f fixed) Sign(context.Context, Request) (*Authorization, error) { return f.auth, f.err }

// named returns a signer that is told from others by its header.
func named(name string) Signer {
	return fixed{auth: &Authorization{Value: identity.Secret(name), Scheme: SchemeOther}}
}

// jwt returns an unsigned token with the claims.
func jwt(t testing.TB, claims map[string]any) string {
	t.Helper()
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	encode := base64.RawURLEncoding.EncodeToString
	return encode([]byte(`{"alg":"none"}`)) + "." + encode(payload) + ".c2lnbmF0dXJl"
}

// placeholderToken returns the access token of a placeholder auth.json.
func placeholderToken(t testing.TB) string {
	t.Helper()
	raw, err := codex.Placeholder(identity.Account{WorkspaceID: "ws-1"}, start)
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Tokens struct {
			AccessToken string `json:"access_token"`
		} `json:"tokens"`
	}
	if err := json.Unmarshal(raw, &file); err != nil {
		t.Fatal(err)
	}
	return file.Tokens.AccessToken
}

func mustSign(t *testing.T, s Signer, r Request) *Authorization {
	t.Helper()
	auth, err := s.Sign(t.Context(), r)
	if err != nil {
		t.Fatalf("Sign(%+v): %v", r, err)
	}
	return auth
}

// wantRefusal checks that s refuses with the code and a message of one line
// that has want in it and none of secrets.
func wantRefusal(t *testing.T, s Signer, code Code, want string, secrets ...string) {
	t.Helper()
	auth, err := s.Sign(t.Context(), Request{})
	if err == nil {
		t.Fatalf("Sign = %+v, want an error with %q", auth, want)
	}
	wantMessage(t, err, code, want, secrets...)
}

func wantMessage(t *testing.T, err error, code Code, want string, secrets ...string) {
	t.Helper()
	if got := CodeOf(err); got != code {
		t.Errorf("code = %q, want %q (%v)", got, code, err)
	}
	if !strings.Contains(err.Error(), want) {
		t.Errorf("error = %q, want it to contain %q", err, want)
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("error has more than a line: %q", err)
	}
	// Whoever logs the cause in place of the message must not log a secret
	// either.
	for e := err; e != nil; e = errors.Unwrap(e) {
		for _, secret := range secrets {
			if strings.Contains(e.Error(), secret) {
				t.Errorf("error shows a secret: %q", e)
			}
		}
	}
}

func TestIsPlaceholder(t *testing.T) {
	t.Parallel()
	token := placeholderToken(t)
	for value, want := range map[string]bool{
		"Bearer " + token:                   true,
		"bearer   " + token + "  ":          true,
		token:                               true,
		"Bearer agentproxy-placeholder":     true,
		"Bearer a.b.c":                      false,
		"Bearer agentproxy-placeholder.a.b": false,
		"":                                  false,
		"AgentAssertion eyJ9":               false,
	} {
		if got := IsPlaceholder(value); got != want {
			t.Errorf("IsPlaceholder(%q) = %t, want %t", value, got, want)
		}
	}
}

// TestNone has requests sent without a credential, the client's included.
func TestNone(t *testing.T) {
	t.Parallel()
	auth := mustSign(t, None{}, Request{})
	if auth.PassThrough || auth.Scheme != SchemeNone || auth.Value != "" {
		t.Errorf("None = %+v", auth)
	}
}

// TestAuthorize asks a signer only where there is to be a credential of ours.
func TestAuthorize(t *testing.T) {
	t.Parallel()
	for kind, want := range map[Kind]*Authorization{
		KindUnknown: {Value: "ours"}, KindInference: {Value: "ours"}, KindAccount: {Value: "ours"}, KindBiscuit: {Value: "ours"},
		KindClient: {PassThrough: true}, KindNone: {},
	} {
		auth, err := Authorize(t.Context(), named("ours"), Request{Kind: kind})
		if err != nil || auth.Value != want.Value || auth.PassThrough != want.PassThrough {
			t.Errorf("%s: %+v, %v", kind, auth, err)
		}
	}
}

func TestErrorf(t *testing.T) {
	t.Parallel()
	cause := errors.New("the cause")
	err := Errorf(NoTask, "no task: %w", cause)
	if err.Error() != "no task: the cause" || !errors.Is(err, cause) || CodeOf(err) != NoTask {
		t.Errorf("Errorf = %v (code %q, cause %v)", err, CodeOf(err), errors.Unwrap(err))
	}
	if code := CodeOf(cause); code != "" {
		t.Errorf("CodeOf(another error) = %q, want none", code)
	}
}
