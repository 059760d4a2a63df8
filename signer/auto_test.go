package signer

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/agentproxy/agentproxy/identity"
)

type assertsAll bool

func (a assertsAll) AssertsAll(context.Context) bool { return bool(a) }

// TestAutoByKind has requests that are not inference signed with the log-in's token
// where the agent's assertions are for inference alone.
func TestAutoByKind(t *testing.T) {
	t.Parallel()
	first := fixed{auth: &Authorization{Value: "assertion", Scheme: SchemeAssertion}}
	token := fixed{auth: &Authorization{Value: "token", Scheme: SchemeBearer}}
	noTask, noLogin := fixed{err: Errorf(NoTask, "no task")}, fixed{err: Errorf(NoLogin, "no login")}
	for _, test := range []struct {
		name            string
		first, token    Signer
		all, noFallback bool
		want            map[Kind]string // the value, or the code of the error
	}{
		{"second generation", first, token, false, false, map[Kind]string{KindUnknown: "assertion", KindInference: "assertion", KindAccount: "token"}},
		{"first generation, or no tokens", first, token, true, false, map[Kind]string{KindUnknown: "assertion", KindInference: "assertion", KindAccount: "assertion"}},
		{"no task", noTask, token, false, false, map[Kind]string{KindInference: "token", KindAccount: "token"}},
		{"no task, and none in its place", noTask, token, false, true, map[Kind]string{KindInference: "no_task", KindAccount: "token"}},
		{"first generation, no task, and none in its place", noTask, token, true, true, map[Kind]string{KindInference: "no_task", KindAccount: "no_task"}},
		{"an ended log-in", first, noLogin, false, false, map[Kind]string{KindInference: "assertion", KindAccount: "no_login"}},
	} {
		s := Auto{First: test.first, Fallback: test.token, Account: test.token, Agent: assertsAll(test.all)}
		if test.noFallback {
			s.Fallback = nil
		}
		for kind, want := range test.want {
			auth, err := s.Sign(t.Context(), Request{Kind: kind})
			got := string(CodeOf(err))
			if err == nil {
				got = auth.Value.Reveal()
			}
			if got != want {
				t.Errorf("%s: %s is signed with %q, want %q", test.name, kind, got, want)
			}
		}
	}
}

// TestAutoAfterRefusal gives no token to a server that has refused the agent's task,
// for want of another one. Without a refusal the token stands in.
func TestAutoAfterRefusal(t *testing.T) {
	t.Parallel()
	token := fixed{auth: &Authorization{Value: "token", Scheme: SchemeBearer}}
	outage := fmt.Errorf("%w: the backend answered 500", identity.ErrNoTask)
	for name, test := range map[string]struct {
		err     error
		kind    Kind
		all     bool
		refused bool
	}{
		"no task yet":                         {outage, KindInference, false, false},
		"it was refused":                      {fmt.Errorf("%w: %w", identity.ErrTaskRefused, outage), KindInference, false, true},
		"it was refused, of unknown kind":     {fmt.Errorf("%w: %w", identity.ErrTaskRefused, outage), KindUnknown, false, true},
		"it was refused, first generation":    {fmt.Errorf("%w: %w", identity.ErrTaskRefused, outage), KindAccount, true, true},
		"it was refused, which is not for it": {fmt.Errorf("%w: %w", identity.ErrTaskRefused, outage), KindAccount, false, false},
	} {
		from := newSessions(t)
		from.err = test.err
		s := Auto{First: NewAgentAssertion(from, newClock().now), Fallback: token, Account: token, Agent: assertsAll(test.all)}
		auth, err := s.Sign(t.Context(), Request{Kind: test.kind})
		switch {
		case !test.refused:
			if err != nil || auth.Value != "token" {
				t.Errorf("%s: %+v, %v, want the token", name, auth, err)
			}
		case CodeOf(err) != NoTask || !errors.Is(err, identity.ErrTaskRefused):
			t.Errorf("%s: %+v, %v, want code %s", name, auth, err, NoTask)
		case !strings.Contains(err.Error(), "the backend answered 500") || !strings.Contains(err.Error(), "agentproxy check"):
			t.Errorf("%s: %q names no cause, or no remedy", name, err)
		}
	}
}

// TestAssertionNamesTheAccount does so for the second generation alone.
func TestAssertionNamesTheAccount(t *testing.T) {
	t.Parallel()
	for protocol, want := range map[identity.Protocol]string{identity.ProtocolAccounts: "account-1", identity.ProtocolBackend: "", "": ""} {
		from := newSessions(t)
		from.identity.Protocol, from.identity.Account.WorkspaceID = protocol, "account-1"
		if auth := mustSign(t, NewAgentAssertion(from, newClock().now), Request{}); auth.AccountID != want {
			t.Errorf("%q: the account is %q, want %q", protocol, auth.AccountID, want)
		}
	}
}

// TestTaskThatWorksElsewhere keeps a task that a server refuses for some requests
// while it takes it for others.
func TestTaskThatWorksElsewhere(t *testing.T) {
	t.Parallel()
	clock, from := newClock(), newSessions(t)
	from.identity.Protocol, from.identity.Account.WorkspaceID = identity.ProtocolAccounts, "account-1"
	s := NewAgentAssertion(from, clock.now)
	account := Request{Kind: KindAccount}
	// Nothing is known of it: it may be gone.
	verify(t, mustRenew(t, s, account, mustSign(t, s, account)), from.identity, "task-'", start)

	// It was registered a moment ago.
	from.set(func(f *sessions) { f.registered = start.Add(-time.Minute) })
	wantNotRenewable(t, s, account, mustSign(t, s, account))
	// Inference takes assertions, so that it must be gone.
	verify(t, mustRenew(t, s, Request{Kind: KindInference}, mustSign(t, s, account)), from.identity, "task-''", start)
	verify(t, mustRenew(t, s, Request{}, mustSign(t, s, account)), from.identity, "task-'''", start)

	clock.forward(time.Hour)
	now := start.Add(time.Hour)
	mustSign(t, s, Request{Kind: KindInference}).Accepted(now)
	clock.forward(provenFor - time.Second)
	wantNotRenewable(t, s, account, mustSign(t, s, account)) // it was taken a moment ago
	clock.forward(time.Second)
	verify(t, mustRenew(t, s, account, mustSign(t, s, account)), from.identity, "task-''''", now.Add(provenFor))

	// The clock counts all the same.
	mustSign(t, s, account).Accepted(now.Add(provenFor))
	refused := mustSign(t, s, account)
	request := account
	request.RefusedAt = now.Add(provenFor + skew)
	verify(t, mustRenew(t, s, request, refused), from.identity, "task-''''", now.Add(provenFor+skew))
}

// TestTaskOfTheFirstGeneration renews one that is refused anywhere: all requests
// carry its assertions, so that Codex would never get to inference without.
func TestTaskOfTheFirstGeneration(t *testing.T) {
	t.Parallel()
	clock, from := newClock(), newSessions(t)
	from.identity.Protocol = identity.ProtocolBackend
	s := NewAgentAssertion(from, clock.now)
	account := Request{Kind: KindAccount}
	refused := mustSign(t, s, account)
	refused.Accepted(start) // a moment ago, and has been forgotten since
	verify(t, mustRenew(t, s, account, refused), from.identity, "task-'", start)
}
