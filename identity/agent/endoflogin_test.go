package agent_test

import (
	"context"
	"errors"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/zalando/go-keyring"

	"github.com/agentproxy/agentproxy/identity"
	"github.com/agentproxy/agentproxy/identity/agent"
	"github.com/agentproxy/agentproxy/identity/backend"
	"github.com/agentproxy/agentproxy/identity/codex"
	"github.com/agentproxy/agentproxy/integration/chatgpttest"
)

// TestEndOfLogin refuses refreshes in all the ways that were seen. What is final is
// asked once, by all processes together, and tells the remedy; what is not is asked
// again.
func TestEndOfLogin(t *testing.T) {
	for _, refusal := range chatgpttest.TokenRefusals() {
		t.Run(refusal.Name, func(t *testing.T) {
			r := newRig(t)
			r.server.SetTokenLifetime(time.Hour)
			l := r.login(chatgpttest.Account{})
			agents := []*agent.Agent{r.agent(), r.agent()}
			stop := r.server.RefuseRefreshes(refusal)
			asks := func(want int, agents ...*agent.Agent) {
				t.Helper()
				before := r.server.Count("/oauth/token")
				for _, a := range agents {
					for range 4 {
						_, err := a.AccessToken(t.Context())
						r.fails(err, identity.ErrTokenExpired, "")
						_, err = a.RenewToken(t.Context(), identity.Secret(l.AccessToken))
						r.fails(err, nil, "")
						if ended := a.LoginEnded(t.Context()); (ended != nil) != refusal.Final {
							t.Errorf("the log-in has ended: %v", ended)
						}
						if refusal.Final {
							r.fails(a.LoginEnded(t.Context()), identity.ErrLoginEnded, "run codex login")
							r.fails(err, identity.ErrLoginEnded, "run codex login")
						} else if strings.Contains(err.Error(), "codex login") {
							t.Errorf("what may pass is told as %v", err)
						}
					}
				}
				if n := r.server.Count("/oauth/token") - before; n != want {
					t.Errorf("asked %d times, want %d", n, want)
				}
			}
			// A token that is good is used, though it cannot be replaced.
			r.advance(56 * time.Minute)
			for range 3 {
				if r.token(agents[0]) != l.AccessToken {
					t.Error("another token than that of the file")
				}
			}
			r.server.ResetRequests()
			r.advance(2 * time.Hour)
			if refusal.Final {
				asks(0, agents...)        // it has ended before
				asks(0, r.agent())        // nor after a restart
				r.advance(24 * time.Hour) // nor ever
				asks(0, agents...)
			} else {
				asks(2, agents...) // each process has its own patience
				r.advance(time.Minute)
				asks(2, agents...)
			}
			raw, err := os.ReadFile(r.state + "/refresh.json")
			if refusal.Final != (err == nil) || strings.Contains(string(raw), l.RefreshToken) || strings.Contains(string(raw), l.AccessToken) {
				t.Errorf("kept: %s, %v", raw, err)
			}
			stop()
			if !refusal.Final {
				r.advance(time.Minute)
				r.token(agents[0])
				r.refreshes(1)
				return
			}
			// Another log-in is a new one.
			r.login(chatgpttest.Account{})
			for _, a := range append(agents, r.agent()) {
				r.token(a)
				if err := a.LoginEnded(t.Context()); err != nil {
					t.Error(err)
				}
			}
			r.advance(2 * time.Hour)
			r.token(agents[1])
			r.refreshes(1)
		})
	}
}

// TestEndedLoginOfCodex goes on with what Codex has refreshed after all.
func TestEndedLoginOfCodex(t *testing.T) {
	r := newRig(t)
	r.server.SetTokenLifetime(time.Hour)
	l := r.login(chatgpttest.Account{})
	a := r.agent()
	stop := r.server.RefuseRefreshes(chatgpttest.TokenRefusal{Status: http.StatusUnauthorized, Body: "{}"})
	r.advance(2 * time.Hour)
	_, err := a.AccessToken(t.Context())
	r.fails(err, identity.ErrLoginEnded, "the answer was 401")
	stop()
	// By another way than ours, whose refresh tokens stay.
	fresh := r.server.Login(chatgpttest.Account{})
	r.write([]byte(strings.Replace(string(l.AuthJSON()), l.AccessToken, fresh.AccessToken, 1)))
	for _, a := range []*agent.Agent{a, r.agent()} {
		if got := r.token(a); got != fresh.AccessToken || a.LoginEnded(t.Context()) != nil {
			t.Errorf("another token than that of the file, or %v", a.LoginEnded(t.Context()))
		}
	}
}

// TestAnotherDuringRefresh has auth.json hold other tokens by the time that the backend refuses
// the former ones for good, in any of the ways that were seen. They are used, and nothing has
// ended.
func TestAnotherDuringRefresh(t *testing.T) {
	for _, refusal := range chatgpttest.TokenRefusals() {
		if !refusal.Final {
			continue
		}
		t.Run(refusal.Name, func(t *testing.T) {
			r := newRig(t)
			r.server.SetTokenLifetime(time.Hour)
			r.login(chatgpttest.Account{})
			a := r.agent()
			r.advance(2 * time.Hour)
			fresh := r.server.Login(chatgpttest.Account{})
			r.server.Inject(chatgpttest.Fault{
				Path: "/oauth/token", Status: refusal.Status, Body: refusal.Body, Header: refusal.Header,
				Match: func(*http.Request) bool { r.write(fresh.AuthJSON()); return true },
			})
			if got := r.token(a); got != fresh.AccessToken {
				t.Error("another token than that of the file")
			}
			if err := a.LoginEnded(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestAnotherDuringRefreshInKeyring is TestAnotherDuringRefresh for a log-in in the keyring.
func TestAnotherDuringRefreshInKeyring(t *testing.T) {
	for _, refusal := range chatgpttest.TokenRefusals() {
		if !refusal.Final {
			continue
		}
		t.Run(refusal.Name, func(t *testing.T) {
			keyring.MockInit()
			r := newRig(t)
			r.server.SetTokenLifetime(time.Hour)
			set := func(l *chatgpttest.Login) {
				if err := keyring.Set("Codex Auth", codexAccount(t, r.home), string(l.AuthJSON())); err != nil {
					t.Error(err)
				}
			}
			set(r.server.Login(chatgpttest.Account{}))
			a := r.agent(func(c *agent.Config) { c.Home = codex.OpenHome(r.home).WithKeyring() })
			r.advance(2 * time.Hour)
			fresh := r.server.Login(chatgpttest.Account{})
			r.server.Inject(chatgpttest.Fault{
				Path: "/oauth/token", Status: refusal.Status, Body: refusal.Body, Header: refusal.Header,
				Match: func(*http.Request) bool { set(fresh); return true },
			})
			if got := r.token(a); got != fresh.AccessToken {
				t.Error("another token than that of the keyring")
			}
			if err := a.LoginEnded(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestCloseDuringWait closes an agent that waits for what another program is to write. It does not
// wait any longer, and takes nothing to have ended.
func TestCloseDuringWait(t *testing.T) {
	r := newRig(t)
	r.server.SetTokenLifetime(time.Hour)
	r.login(chatgpttest.Account{})
	a := r.agent(func(c *agent.Config) { c.Patience = time.Hour })
	r.advance(2 * time.Hour)
	reused := chatgpttest.TokenRefusals()[0]
	defer r.server.RefuseRefreshes(reused)()
	done := make(chan error)
	go func() {
		_, err := a.AccessToken(t.Context())
		done <- err
	}()
	eventually(t, reused.Name, func() bool {
		return slices.ContainsFunc(r.server.Requests(), func(r chatgpttest.Request) bool { return r.Path == "/oauth/token" && r.Done })
	})
	a.Close()
	if err := <-done; !errors.Is(err, context.Canceled) || errors.Is(err, identity.ErrLoginEnded) {
		t.Errorf("error %v", err)
	}
	if err := r.agent().LoginEnded(t.Context()); err != nil || r.told("cannot be refreshed") > 0 {
		t.Errorf("it has ended: %v, %v", err, r.events)
	}
}

// TestCodexWasFaster takes over what Codex was refreshing at the same time, which
// comes to auth.json a moment after the refusal.
func TestCodexWasFaster(t *testing.T) {
	r := newRig(t)
	r.server.SetTokenLifetime(time.Hour)
	l := r.login(chatgpttest.Account{})
	a := r.agent(func(c *agent.Config) { c.Patience = 5 * time.Minute }) // no matter how slow the machine is
	r.advance(2 * time.Hour)
	body := `{"client_id":"app_EMoamEEZ73f0CkXaXp7hrann","grant_type":"refresh_token","refresh_token":"` + l.RefreshToken + `"}`
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, backend.DefaultRefreshURL, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	response, err := r.server.Client().Do(request) // Codex's
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	done := make(chan error)
	go func() {
		token, err := a.AccessToken(t.Context())
		if err == nil && token.Value.Reveal() != l.Current().AccessToken {
			t.Error("another token than Codex's")
		}
		done <- err
	}()
	eventually(t, "the token was used twice", func() bool { return r.server.Stats().ReusedRefreshTokens == 1 })
	r.write(l.AuthJSON())
	if err := <-done; err != nil || a.LoginEnded(t.Context()) != nil {
		t.Errorf("error %v, %v", err, a.LoginEnded(t.Context()))
	}
}
