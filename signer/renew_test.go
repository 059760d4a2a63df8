package signer

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/agentproxy/agentproxy/identity"
)

// skew is a difference between clocks that is believed.
const skew = 9 * time.Minute

func mustRenew(t *testing.T, s Signer, r Request, refused *Authorization) *Authorization {
	t.Helper()
	auth, err := renew(t.Context(), s, r, refused)
	if err != nil {
		t.Fatalf("Renew: %v", err)
	}
	return auth
}

func wantNotRenewable(t *testing.T, s Signer, r Request, refused *Authorization) {
	t.Helper()
	if auth, err := renew(t.Context(), s, r, refused); !errors.Is(err, errNotRenewable) {
		t.Errorf("Renew = %+v, %v, want %v", auth, err, errNotRenewable)
	}
}

func TestRenewAssertion(t *testing.T) {
	t.Parallel()
	from := newSessions(t)
	s := NewAgentAssertion(from, newClock().now)
	refused := mustSign(t, s, Request{Label: "a"})

	// The task is replaced, if it can be.
	verify(t, mustRenew(t, s, Request{Label: "a"}, refused), from.identity, "task-a'", start)
	from.set(func(f *sessions) { f.refuse = true })
	refused = mustSign(t, s, Request{Label: "a"})
	wantNotRenewable(t, s, Request{Label: "a"}, refused)

	// If the server's clock was learnt meanwhile, the task may be good.
	from.set(func(f *sessions) { f.offset = skew })
	verify(t, mustRenew(t, s, Request{Label: "a"}, refused), from.identity, "task-a'", start.Add(skew))
}

// TestRenewByTheRefusal goes by the clock of the server that has refused, whatever
// was learnt from others meanwhile.
func TestRenewByTheRefusal(t *testing.T) {
	t.Parallel()
	const a = "a"
	for name, test := range map[string]struct {
		learnt, refusedAt time.Duration // after the start, by our clock
		task              string
		signedAt          time.Duration
	}{
		"it was the time stamp":          {0, skew, "task-a", skew},
		"and it was learnt":              {skew, skew, "task-a", skew},
		"and something else was learnt":  {-skew, skew, "task-a", skew},
		"it was the task":                {0, 0, "task-a'", 0},
		"it was the task, by some delay": {0, -clockTolerance, "task-a'", 0},
		"and something else is learnt":   {skew, time.Second, "task-a'", skew},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			from := newSessions(t)
			s := NewAgentAssertion(from, newClock().now).CacheSessions(time.Hour)
			refused := mustSign(t, s, Request{Label: a})
			from.set(func(f *sessions) { f.offset = test.learnt })
			renewed := mustRenew(t, s, Request{Label: a, RefusedAt: start.Add(test.refusedAt)}, refused)
			verify(t, renewed, from.identity, test.task, start.Add(test.signedAt))
			// What is signed next goes by what was learnt.
			verify(t, mustSign(t, s, Request{Label: a}), from.identity, test.task, start.Add(test.learnt))
		})
	}
	from := newSessions(t)
	s := NewAgentAssertion(from, newClock().now)
	refused := mustSign(t, s, Request{Label: a})
	// A time that is too far away is not believed, and no task is replaced for it.
	for _, far := range []time.Duration{maxOffset + time.Second, -22 * time.Hour} {
		if _, err := s.Renew(t.Context(), Request{Label: a, RefusedAt: start.Add(far)}, refused); err != errNotRenewable {
			t.Errorf("Renew after a refusal %s ahead = %v", far, err)
		}
	}
	from.set(func(f *sessions) { f.err = identity.ErrNoTask })
	if _, err := s.Renew(t.Context(), Request{Label: a}, refused); CodeOf(err) != NoTask {
		t.Errorf("Renew = %v, want code %s", err, NoTask)
	}
}

func TestRenewBearer(t *testing.T) {
	t.Parallel()
	from := &tokens{token: identity.AccessToken{Value: "one"}}
	s := NewBearer(from)
	refused := mustSign(t, s, Request{})
	from.renewed = from.token
	wantNotRenewable(t, s, Request{}, refused)
	if from.refused != "one" {
		t.Errorf("%q was said to be refused, want the token alone", from.refused.Reveal())
	}
	from.renewed.Value = "two"
	if auth := mustRenew(t, s, Request{}, refused); auth.Value != "Bearer two" {
		t.Errorf("Renew = %q", auth.Value.Reveal())
	}
	from.err = identity.ErrNoLogin
	if _, err := s.Renew(t.Context(), Request{}, refused); CodeOf(err) != NoLogin {
		t.Errorf("Renew = %v, want code %s", err, NoLogin)
	}
}

func TestRenewToken(t *testing.T) {
	t.Parallel()
	value := "one"
	s := NewTokenFromEnv("T", func(string) (string, bool) { return value, true }, nil)
	refused := mustSign(t, s, Request{})
	wantNotRenewable(t, s, Request{}, refused)
	value = "two"
	if auth := mustRenew(t, s, Request{}, refused); auth.Value != "Bearer two" {
		t.Errorf("Renew = %q", auth.Value.Reveal())
	}
	value = ""
	if _, err := s.Renew(t.Context(), Request{}, refused); CodeOf(err) != TokenMissing {
		t.Errorf("Renew = %v, want code %s", err, TokenMissing)
	}
}

func TestRenewCommand(t *testing.T) {
	t.Parallel()
	p, clock := newPrinter(t, "one"), newClock()
	s := NewCommand(p.argv(), clock.now, nil)
	refused := mustSign(t, s, Request{})
	wantNotRenewable(t, s, Request{}, refused) // it has just been made
	p.wantRuns(1)
	clock.forward(commandMargin)
	wantNotRenewable(t, s, Request{}, refused) // it is the same again
	p.wantRuns(2)
	p.print("two")
	clock.forward(commandMargin)
	refused = mustSign(t, s, Request{})
	if auth := mustRenew(t, s, Request{}, refused); auth.Value != "Bearer two" {
		t.Errorf("Renew = %q", auth.Value.Reveal())
	}
	p.wantRuns(3)
}

// renewing is a signer that answers the same when it renews.
type renewing struct{ fixed }

func (r renewing) Renew(ctx context.Context, req Request, _ *Authorization) (*Authorization, error) {
	return r.Sign(ctx, req)
}

func TestRenewAuto(t *testing.T) {
	t.Parallel()
	first := renewing{fixed{auth: &Authorization{Value: "first", Scheme: SchemeAssertion}}}
	second := renewing{fixed{auth: &Authorization{Value: "second", Scheme: SchemeBearer}}}
	broken := renewing{fixed{err: Errorf(NoTask, "no task")}}

	both := Auto{First: first, Fallback: second}
	if auth := mustRenew(t, both, Request{}, first.auth); auth.Value != "first" {
		t.Errorf("a refused assertion was renewed to %q", auth.Value.Reveal())
	}
	if auth := mustRenew(t, both, Request{}, second.auth); auth.Value != "second" {
		t.Errorf("a refused token was renewed to %q", auth.Value.Reveal())
	}
	// The log-in's token is not handed to a server that has refused an assertion.
	if auth, err := renew(t.Context(), Auto{First: broken, Fallback: second, Account: second}, Request{}, first.auth); CodeOf(err) != NoTask {
		t.Errorf("an assertion that cannot be renewed became %+v, %v", auth, err)
	}
	if auth := mustRenew(t, Auto{First: first, Account: second}, Request{Kind: KindAccount}, second.auth); auth.Value != "second" {
		t.Errorf("a refused token was renewed to %q", auth.Value.Reveal())
	}
	if _, err := renew(t.Context(), Auto{First: broken}, Request{}, first.auth); CodeOf(err) != NoTask {
		t.Errorf("Renew = %v, want code %s", err, NoTask)
	}
	wantNotRenewable(t, Auto{First: first}, Request{}, second.auth)
}

func TestRenewGoesToWhomSigned(t *testing.T) {
	t.Parallel()
	next := renewing{fixed{auth: &Authorization{Value: "next"}}}
	bearer := renewing{fixed{auth: &Authorization{Value: "bearer"}}}
	bootstrap := Bootstrap{Bearer: bearer, Next: next}
	rules := Rules{Rules: []Rule{{matcher{host: hostPattern{name: "chatgpt.com"}}, bootstrap}}, Default: named("default")}
	biscuit := Request{Host: "chatgpt.com", Path: "/backend-api/authenticate_app_v2"}
	if auth := mustRenew(t, rules, biscuit, bearer.auth); auth.Value != "bearer" {
		t.Errorf("the biscuit's request was renewed with %q", auth.Value.Reveal())
	}
	if auth := mustRenew(t, rules, Request{Host: "chatgpt.com", Path: "/x"}, next.auth); auth.Value != "next" {
		t.Errorf("Renew = %q, want next", auth.Value.Reveal())
	}
	wantNotRenewable(t, rules, Request{Host: "chatgpt.com", Path: "/v1/agent/register"}, passThrough)
	wantNotRenewable(t, rules, Request{Host: "other", Path: "/x"}, next.auth) // not a Renewer
	wantNotRenewable(t, None{}, Request{}, passThrough)
}
