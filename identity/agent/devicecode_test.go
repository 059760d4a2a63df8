package agent_test

import (
	"context"
	"errors"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/agentproxy/agentproxy/identity/backend"
	"github.com/agentproxy/agentproxy/identity/codex"
	"github.com/agentproxy/agentproxy/integration/chatgpttest"
)

// deviceBackend returns the rig's backend. wait is called in place of every pause,
// after which the clock has gone on by it.
func (r *rig) deviceBackend(wait func(n int)) *backend.Client {
	n := 0
	return backend.New(backend.Config{
		BaseURL: baseURL, Transport: r.server.Client().Transport, Clock: backend.NewClock(r.now, nil),
		Wait: func(ctx context.Context, d time.Duration) error {
			r.advance(d)
			n++
			wait(n)
			return ctx.Err()
		},
	})
}

func TestDeviceLogin(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	var code *backend.DeviceCode
	b := r.deviceBackend(func(n int) {
		if n == 3 {
			r.server.ApproveDevice(strings.ToLower(code.UserCode), chatgpttest.Account{WorkspaceID: "w", UserID: "u"})
		}
	})
	code, err := b.DeviceCode(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if code.URL != "https://auth.openai.com/codex/device" || code.Life != 15*time.Minute || len(code.UserCode) != 10 {
		t.Errorf("%+v", code)
	}
	tokens, err := b.DeviceLogin(t.Context(), code)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := codex.NewLogin(tokens, r.now())
	if err != nil {
		t.Fatal(err)
	}
	auth, err := codex.ParseAuth(raw)
	if err != nil {
		t.Fatal(err)
	}
	if auth.Mode != codex.ModeChatGPT || auth.Tokens.AccountID != "w" || auth.Tokens.Claims.UserID != "u" || auth.LastRefresh.IsZero() || auth.HasAPIKey {
		t.Errorf("%+v", auth)
	}
	// The tokens are good, and the refresh token is one.
	if err := os.WriteFile(r.path(), raw, 0o600); err != nil {
		t.Fatal(err)
	}
	token, err := r.agent().RenewToken(t.Context(), auth.Tokens.AccessToken)
	if err != nil || token.Account.WorkspaceID != "w" || token.Value == auth.Tokens.AccessToken {
		t.Errorf("%v, %v", token, err)
	}
	// A code is good once.
	if _, err := b.DeviceLogin(t.Context(), code); !errors.Is(err, backend.ErrDeviceCodeExpired) {
		t.Errorf("a second time: %v", err)
	}
	if st := r.server.Stats(); st.DeviceLogins != 1 || st.EarlyDevicePolls != 0 {
		t.Errorf("%+v", st)
	}
}

func TestDeviceLoginFails(t *testing.T) {
	t.Parallel()
	const poll = "/api/accounts/deviceauth/token"
	for name, c := range map[string]struct {
		fault    chatgpttest.Fault
		then     func(r *rig, userCode string) // after the second pause
		want     error
		contains string
		polls    int
	}{
		"refused": {then: func(r *rig, code string) { r.server.RefuseDevice(code) }, want: backend.ErrDeviceCodeRefused, polls: 2},
		"expired": {then: func(r *rig, code string) { r.server.ExpireDevice(code) }, want: backend.ErrDeviceCodeExpired, polls: 2},
		// 15 minutes, each five seconds
		"nobody": {want: backend.ErrDeviceCodeExpired, polls: 180},
		"nobody, and the server says 403 for ever":     {fault: chatgpttest.Fault{Path: poll, Status: 403, Body: "no"}, want: backend.ErrDeviceCodeExpired, polls: 180},
		"nobody, and the server cannot be reached":     {fault: chatgpttest.Fault{Path: poll, Reset: true}, want: backend.ErrDeviceCodeExpired, polls: 180},
		"an error that says nothing":                   {fault: chatgpttest.Fault{Path: poll, Status: 400}, contains: "answered 400 (injected_fault)", polls: 1},
		"an answer that is not JSON":                   {fault: chatgpttest.Fault{Path: poll, Status: 200, Body: "<p>hello"}, contains: "not JSON", polls: 1},
		"an answer without a code":                     {fault: chatgpttest.Fault{Path: poll, Status: 200, Body: "{}"}, contains: "no authorization_code", polls: 1},
		"an exchange that is refused":                  {fault: chatgpttest.Fault{Path: "/oauth/token", Status: 400, Times: 1}, then: approve, contains: "answered 400", polls: 2},
		"an exchange without a refresh token":          {fault: chatgpttest.Fault{Path: "/oauth/token", Status: 200, Body: `{"access_token":"x"}`}, then: approve, contains: "no refresh_token", polls: 2},
		"a log-in of nobody knows whom":                {fault: chatgpttest.Fault{Path: "/oauth/token", Status: 200, Body: `{"access_token":"x","refresh_token":"y","id_token":"e30.e30.x"}`}, then: approve, want: backend.ErrDeviceLoginUnknown, polls: 2},
		"an exchange with a token for no header":       {fault: chatgpttest.Fault{Path: "/oauth/token", Status: 200, Body: `{"access_token":"x\ny","refresh_token":"y"}`}, then: approve, contains: "cannot be sent", polls: 2},
		"an exchange that the backend does not answer": {fault: chatgpttest.Fault{Path: "/oauth/token", Reset: true}, then: approve, contains: "exchange the device's authorization code", polls: 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			var code *backend.DeviceCode
			polls := 0
			b := r.deviceBackend(func(n int) {
				polls = n
				if n == 2 && c.then != nil {
					c.then(r, code.UserCode)
				}
			})
			code, err := b.DeviceCode(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if c.fault.Path != "" {
				defer r.server.Inject(c.fault)()
			}
			tokens, err := b.DeviceLogin(t.Context(), code)
			switch {
			case err == nil:
				t.Errorf("got %v", tokens)
			case c.want != nil && !errors.Is(err, c.want), !strings.Contains(err.Error(), c.contains):
				t.Errorf("%v, want %v %q", err, c.want, c.contains)
			}
			if polls != c.polls {
				t.Errorf("%d polls, want %d", polls, c.polls)
			}
		})
	}
}

func approve(r *rig, code string) { r.server.ApproveDevice(code, chatgpttest.Account{}) }

// TestDeviceLoginSlow has the server ask for patience, in either form.
func TestDeviceLoginSlow(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.server.SetDeviceInterval(10 * time.Second)
	var code *backend.DeviceCode
	var pauses []time.Duration
	begin := r.now()
	b := r.deviceBackend(func(n int) {
		pauses = append(pauses, r.now().Sub(begin))
		begin = r.now()
		switch n {
		case 1:
			r.server.SlowDevice(code.UserCode, 2)
		case 3:
			r.server.Inject(chatgpttest.Fault{Path: "/api/accounts/deviceauth/token", Status: 429, Header: http.Header{"Retry-After": {"45"}}, Times: 1})
		case 4:
			r.server.Inject(chatgpttest.Fault{Path: "/api/accounts/deviceauth/token", Status: 502, Times: 1})
		case 5:
			approve(r, code.UserCode)
		}
	})
	code, err := b.DeviceCode(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.DeviceLogin(t.Context(), code); err != nil {
		t.Fatal(err)
	}
	want := []time.Duration{10 * time.Second, 15 * time.Second, 20 * time.Second, 45 * time.Second, 45 * time.Second}
	for i := range want {
		if len(pauses) != len(want) || pauses[i] != want[i] {
			t.Fatalf("paused %v, want %v", pauses, want)
		}
	}
}

func TestDeviceLoginCanceled(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx, cancel := context.WithCancel(t.Context())
	b := r.deviceBackend(func(n int) { cancel() })
	code, err := b.DeviceCode(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.DeviceLogin(ctx, code); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func TestDeviceCodeFails(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	b := r.deviceBackend(func(int) {})
	r.server.SetDeviceCodes(false)
	if _, err := b.DeviceCode(t.Context()); !errors.Is(err, backend.ErrNoDeviceCodes) {
		t.Errorf("%v", err)
	}
	r.server.SetDeviceCodes(true)
	for body, want := range map[string]string{
		`{}`:                                  "no user_code",
		`{"user_code":"A B"}`:                 "no user_code",
		`{"user_code":"\u001b[2J"}`:           "no user_code",
		`{"user_code":"AB"}`:                  "no device_auth_id",
		`[]`:                                  "expected object",
		`{"user_code":1,"device_auth_id":""}`: "expected string",
	} {
		clear := r.server.Inject(chatgpttest.Fault{Path: "/api/accounts/deviceauth/usercode", Status: 200, Body: body})
		if _, err := b.DeviceCode(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", body, err, want)
		}
		clear()
	}
	// What is left out has a default, and the older spelling is taken.
	clear := r.server.Inject(chatgpttest.Fault{Path: "/api/accounts/deviceauth/usercode", Status: 200, Body: `{"usercode":"AB","device_auth_id":"x","interval":7}`})
	defer clear()
	if code, err := b.DeviceCode(t.Context()); err != nil || code.UserCode != "AB" {
		t.Errorf("%v, %v", code, err)
	}
}
