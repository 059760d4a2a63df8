package signer

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/agentproxy/agentproxy/identity"
)

type tokens struct {
	token, renewed identity.AccessToken
	err            error
	refused        identity.Secret
}

func (s *tokens) AccessToken(context.Context) (identity.AccessToken, error) { return s.token, s.err }

func (s *tokens) RenewToken(_ context.Context, refused identity.Secret) (identity.AccessToken, error) {
	s.refused = refused
	return s.renewed, s.err
}

func TestBearer(t *testing.T) {
	t.Parallel()
	from := &tokens{token: identity.AccessToken{Value: "one", Account: identity.Account{WorkspaceID: "ws-1"}}}
	s := NewBearer(from)
	first := mustSign(t, s, Request{})
	if want := (Authorization{Value: "Bearer one", Scheme: SchemeBearer, AccountID: "ws-1", Signer: "bearer"}); *first != want {
		t.Errorf("Sign = %+v, want %+v", first, want)
	}
	if again := mustSign(t, s, Request{Label: "other", Path: "/x"}); again != first {
		t.Error("the header of the same token was made twice")
	}
	from.token.Value = "two"
	if next := mustSign(t, s, Request{}); next.Value != "Bearer two" {
		t.Errorf("Sign = %q after the token changed", next.Value.Reveal())
	}
	from.token.Account = identity.Account{WorkspaceID: "ws-2", FedRAMP: true}
	if next := mustSign(t, s, Request{}); next.AccountID != "ws-2" || !next.FedRAMP {
		t.Errorf("Sign = %+v after the account changed", next)
	}
	from.err = fmt.Errorf("auth.json: %w", identity.ErrTokenExpired)
	wantRefusal(t, s, TokenExpired, "the access token has expired", "two")
}

func TestAuto(t *testing.T) {
	t.Parallel()
	noTask := Errorf(NoTask, "no task")
	expired := Errorf(TokenExpired, "the token has expired")
	ok := func(name string) fixed { return fixed{auth: &Authorization{Value: identity.Secret(name)}} }
	for name, test := range map[string]struct {
		auto  Auto
		value identity.Secret
		err   string
		code  Code
	}{
		"first":              {auto: Auto{First: ok("first"), Fallback: ok("second")}, value: "first"},
		"fallback":           {auto: Auto{First: fixed{err: noTask}, Fallback: ok("second")}, value: "second"},
		"first alone":        {auto: Auto{First: ok("first")}, value: "first"},
		"refuse":             {auto: Auto{First: fixed{err: noTask}}, err: "no task", code: NoTask},
		"both fail":          {auto: Auto{First: fixed{err: noTask}, Fallback: fixed{err: expired}}, err: "no task; nor with a Bearer token: the token has expired", code: NoTask},
		"both fail the same": {auto: Auto{First: fixed{err: noTask}, Fallback: fixed{err: noTask}}, err: "no task", code: NoTask},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			auth, err := test.auto.Sign(t.Context(), Request{})
			if test.err == "" {
				if err != nil || auth.Value != test.value {
					t.Errorf("Sign = %+v, %v, want %s", auth, err, test.value.Reveal())
				}
				return
			}
			if err == nil || err.Error() != test.err || CodeOf(err) != test.code || !errors.Is(err, noTask) {
				t.Errorf("Sign = %+v, %v (code %s), want %s (code %s)", auth, err, CodeOf(err), test.err, test.code)
			}
		})
	}
}

func TestBootstrap(t *testing.T) {
	t.Parallel()
	const keep, next, bearer = "", "next", "bearer"
	s := Bootstrap{Bearer: named(bearer), Next: named(next)}
	for path, want := range map[string]string{
		"/backend-api/authenticate_app_v2":                   bearer,
		"/backend-api//authenticate_app_v2/":                 bearer,
		"/backend-api/v1/agent/register":                     keep,
		"/backend-api//v1//agent/register":                   keep,
		"/api/accounts/v1/agent/agent-1/task/register":       keep,
		"/backend-api/v1/agent/agent-1/task/register/":       keep,
		"/backend-api/v1/agent/a%2Fb/task/register":          keep,
		"/backend-api/authenticate%5Fapp_v2":                 keep, // odd spellings get nothing of ours
		"/backend-api/Authenticate_App_V2":                   keep,
		"/backend-api/x/../authenticate_app_v2":              bearer, // whose ending is as it ought to be
		"/backend-api/x/authenticate_app_v2/y/..":            keep,
		"/backend-api/v1/agent/%72egister":                   keep,
		"/backend-api/v1/agent/%2572egister":                 keep,
		"/backend-api/v1/./agent/register":                   keep,
		"/backend-api/v1/agent/register;x=1":                 keep,
		`/backend-api/v1\agent\register`:                     keep,
		"/backend-api/codex/responses":                       next,
		"/backend-api/authenticate_app_v2/more":              next,
		"/backend-api/v1/agent/agent-1/task":                 next,
		"/backend-api/v1/agent":                              next,
		"/backend-api/codex/responses/authenticate_app_v2_x": next,
		"": next,
	} {
		auth := mustSign(t, s, Request{Path: path})
		if got := auth.Value.Reveal(); got != want || auth.PassThrough != (want == keep) {
			t.Errorf("%s: %q (keep %t), want %q", path, got, auth.PassThrough, want)
		}
	}
}
