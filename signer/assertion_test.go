package signer

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/agentproxy/agentproxy/identity"
)

// sessions is one identity with a task for every label.
type sessions struct {
	mu       sync.Mutex
	identity *identity.Identity
	offset   time.Duration
	err      error
	asked    int
	renewed  int // how often a task was replaced
	refuse   bool

	registered time.Time // its tasks
}

func newSessions(t *testing.T) *sessions {
	t.Helper()
	return &sessions{identity: newIdentity(t)}
}

func newIdentity(t *testing.T) *identity.Identity {
	t.Helper()
	key, err := identity.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	return &identity.Identity{AgentRuntimeID: "agent-1", Key: key}
}

func (s *sessions) Session(_ context.Context, label string) (identity.Session, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	if s.err != nil {
		return identity.Session{}, s.err
	}
	return identity.Session{
		Identity:    s.identity,
		Task:        identity.Task{AgentRuntimeID: s.identity.AgentRuntimeID, ID: "task-" + label + strings.Repeat("'", s.renewed)},
		ClockOffset: s.offset,
	}, nil
}

func (s *sessions) TaskRejected(string, identity.Task) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refuse {
		return false
	}
	s.renewed++
	return true
}

func (s *sessions) TaskRegistered(string, identity.Task) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.registered
}

func (s *sessions) ClockOffset() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.offset
}

func (s *sessions) set(change func(*sessions)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s)
}

// verify checks the header of auth against the identity, and that it says what
// the time and task are.
func verify(t *testing.T, auth *Authorization, id *identity.Identity, task string, at time.Time) {
	t.Helper()
	want := id.Key.Assert(id.AgentRuntimeID, task, at).Header() // Ed25519 is deterministic
	if auth.Value.Reveal() != want {
		t.Errorf("the assertion is %s, want %s", auth.Value.Reveal(), want)
	}
	if auth.TaskID != task {
		t.Errorf("task = %q beside the header, want %q", auth.TaskID, task)
	}
}

func TestAssertionIsMadeOnceASecondAndTask(t *testing.T) {
	t.Parallel()
	clock, from := newClock(), newSessions(t)
	s := NewAgentAssertion(from, clock.now)
	first := mustSign(t, s, Request{Label: "a"})
	verify(t, first, from.identity, "task-a", start)
	if first.Scheme != SchemeAssertion || first.AccountID != "" || first.FedRAMP || first.PassThrough {
		t.Errorf("first = %+v, want an assertion without an account", first)
	}

	clock.forward(time.Second - time.Nanosecond)
	if again := mustSign(t, s, Request{Label: "a"}); again != first {
		t.Error("a second assertion was made within the second")
	}
	if other := mustSign(t, s, Request{Label: "b"}); other.Value == first.Value {
		t.Error("another task has the same header")
	}
	clock.forward(time.Nanosecond)
	next := mustSign(t, s, Request{Label: "a"})
	verify(t, next, from.identity, "task-a", start.Add(time.Second))
	if next.Value == first.Value {
		t.Error("the next second has the same header")
	}
	if from.asked != 4 {
		t.Errorf("the session was asked for %d times, want once a request: 4", from.asked)
	}
}

func TestAssertionIsMadeOnceForManyAtOnce(t *testing.T) {
	t.Parallel()
	s := NewAgentAssertion(newSessions(t), newClock().now)
	var answers sync.Map
	var group sync.WaitGroup
	for i := range 200 {
		group.Go(func() {
			auth, err := s.Sign(t.Context(), Request{Label: fmt.Sprint(i % 4)})
			if err != nil {
				t.Error(err)
			}
			answers.Store(auth, true)
		})
	}
	group.Wait()
	made := 0
	answers.Range(func(any, any) bool { made++; return true })
	if made != 4 {
		t.Errorf("%d assertions were made for 4 tasks", made)
	}
}

func TestAssertionFollowsTheIdentity(t *testing.T) {
	t.Parallel()
	from := newSessions(t)
	s := NewAgentAssertion(from, newClock().now)
	first := mustSign(t, s, Request{})

	renewed := newIdentity(t) // same ids, another key
	from.set(func(f *sessions) { f.identity = renewed })
	second := mustSign(t, s, Request{})
	if second.Value == first.Value {
		t.Error("another key has the same header")
	}
	verify(t, second, renewed, "task-", start)

	fedramp := *renewed
	fedramp.AgentRuntimeID = "agent-2"
	fedramp.Account.FedRAMP = true
	from.set(func(f *sessions) { f.identity = &fedramp })
	if third := mustSign(t, s, Request{}); !third.FedRAMP {
		t.Error("a FedRAMP account's assertion does not ask for its header")
	}
}

func TestAssertionGoesByTheBackendsClock(t *testing.T) {
	t.Parallel()
	from := newSessions(t)
	from.offset = -90 * time.Second
	s := NewAgentAssertion(from, newClock().now)
	verify(t, mustSign(t, s, Request{}), from.identity, "task-", start.Add(-90*time.Second))
}

func TestAssertionsRememberedAreBounded(t *testing.T) {
	t.Parallel()
	s := NewAgentAssertion(newSessions(t), newClock().now)
	for i := range maxRecent + 10 {
		mustSign(t, s, Request{Label: fmt.Sprint(i)})
	}
	if n := len(s.recent); n > maxRecent {
		t.Errorf("%d assertions are remembered, want at most %d", n, maxRecent)
	}
}

func TestAssertionRefused(t *testing.T) {
	t.Parallel()
	from := newSessions(t)
	s := NewAgentAssertion(from, newClock().now)
	mustSign(t, s, Request{})

	from.set(func(f *sessions) { f.err = fmt.Errorf("agent-1: %w", identity.ErrNoTask) })
	wantRefusal(t, s, NoTask, "agent-1: the agent identity has no task")

	s = NewAgentAssertion(strangeTask{newSessions(t)}, newClock().now)
	wantRefusal(t, s, BadIdentity, "agent task runtime agent-2 does not match stored agent identity agent-1")

	from.set(func(f *sessions) { f.err = Errorf(TokenExpired, "said already") })
	wantRefusal(t, NewAgentAssertion(from, newClock().now), TokenExpired, "said already")
}

// strangeTask has a task of another agent.
type strangeTask struct {
	*sessions
}

func (s strangeTask) Session(context.Context, string) (identity.Session, error) {
	return identity.Session{Identity: s.identity, Task: identity.Task{AgentRuntimeID: "agent-2", ID: "task"}}, nil
}

func TestFromIdentity(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		err  error
		want Code
	}{
		{identity.ErrNoLogin, NoLogin},
		{identity.ErrPlaceholder, NoLogin},
		{identity.ErrAPIKey, APIKeyLogin},
		{identity.ErrNoIdentity, NoIdentity},
		{identity.ErrNoTask, NoTask},
		{identity.ErrTokenExpired, TokenExpired},
		{identity.ErrOtherWorkspace, WrongAccount},
		{identity.ErrOtherUser, WrongAccount},
		{identity.ErrBadKey, BadIdentity},
		{&identity.FileError{Path: "auth.json", Reason: "empty"}, LoginUnread},
		{errors.New("something else"), NoIdentity},
	} {
		wrapped := fmt.Errorf("auth.json: %w", test.err)
		err := fromIdentity(wrapped)
		if got := CodeOf(err); got != test.want {
			t.Errorf("%v: code %q, want %q", test.err, got, test.want)
		}
		if !errors.Is(err, test.err) || err.Error() != wrapped.Error() {
			t.Errorf("fromIdentity(%v) = %v, want it to wrap and say the same", wrapped, err)
		}
	}
	own := Errorf(CommandFailed, "x")
	if err := fromIdentity(own); err != error(own) {
		t.Errorf("an error of this package became %v", err)
	}
}
