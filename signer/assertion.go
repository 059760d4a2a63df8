package signer

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/agentproxy/agentproxy/identity"
)

// Sessions is where [AgentAssertion] finds the identity to sign as, and the
// task that it has for a session label.
type Sessions interface {
	// Session returns the identity and the task for a label.
	Session(ctx context.Context, label string) (identity.Session, error)
	// TaskRejected is told that a task was refused, and reports whether Session
	// may have another one now.
	TaskRejected(label string, task identity.Task) bool
	// TaskRegistered returns when the task of a label was registered, zero if that is
	// not known.
	TaskRegistered(label string, task identity.Task) time.Time
	// ClockOffset is that of the sessions which are returned now.
	ClockOffset() time.Duration
}

// AgentAssertion signs as a registered agent identity.
//
// An assertion's time stamp counts whole seconds, so all requests of a task
// within one second carry the same header: it is made once.
type AgentAssertion struct {
	sessions Sessions
	now      func() time.Time

	hold time.Duration // of sessions

	mu       sync.RWMutex
	recent   map[identity.Task]*madeAssertion
	held     map[string]heldSession          // by label
	accepted map[identity.Task]*atomic.Int64 // see Authorization
}

var _ Renewer = (*AgentAssertion)(nil)

type madeAssertion struct {
	second int64
	key    *identity.Key // that it was made with
	auth   *Authorization
}

// heldSession is what a label's session was a moment ago.
type heldSession struct {
	session identity.Session
	at      time.Time
}

// maxRecent bounds the assertions that are remembered. There is one a task,
// and a proxy that serves more tasks than this within a second signs again.
const maxRecent = 4096

// NewAgentAssertion returns a signer for the identity and tasks of sessions.
func NewAgentAssertion(sessions Sessions, now func() time.Time) *AgentAssertion {
	return &AgentAssertion{
		sessions: sessions, now: now,
		recent: make(map[identity.Task]*madeAssertion), held: make(map[string]heldSession), accepted: make(map[identity.Task]*atomic.Int64),
	}
}

// CacheSessions has the answer of [Sessions] hold for d, so that not each of many
// requests at a time has the files looked at. A refusal ends it at once. It returns
// s, and must be called before s is used.
func (s *AgentAssertion) CacheSessions(d time.Duration) *AgentAssertion {
	s.hold = d
	return s
}

// session returns the session for a label.
func (s *AgentAssertion) session(ctx context.Context, label string) (identity.Session, error) {
	if s.hold > 0 {
		s.mu.RLock()
		held, ok := s.held[label]
		s.mu.RUnlock()
		if ok && time.Since(held.at) < s.hold {
			return held.session, nil
		}
	}
	session, err := s.sessions.Session(ctx, label)
	if err == nil {
		s.keep(label, session)
	}
	return session, err
}

// keep holds the session of a label.
func (s *AgentAssertion) keep(label string, session identity.Session) {
	if s.hold == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.held) >= maxRecent {
		clear(s.held)
	}
	s.held[label] = heldSession{session, time.Now()}
}

// Sign implements [Signer].
func (s *AgentAssertion) Sign(ctx context.Context, r Request) (*Authorization, error) {
	session, err := s.session(ctx, r.Label)
	if err != nil {
		return nil, fromIdentity(err)
	}
	return s.assert(session)
}

// assert returns the assertion of a session for this second.
func (s *AgentAssertion) assert(session identity.Session) (*Authorization, error) {
	now := s.now().Add(session.ClockOffset)
	second := now.Unix()

	key := session.Identity.Key
	current := func() *Authorization {
		if made := s.recent[session.Task]; made != nil && made.second == second && made.key == key {
			return made.auth
		}
		return nil
	}
	s.mu.RLock()
	auth := current()
	s.mu.RUnlock()
	if auth != nil {
		return auth, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if auth := current(); auth != nil {
		return auth, nil // another request was faster
	}
	assertion, err := session.Identity.Assert(session.Task, now)
	if err != nil {
		return nil, &Error{Code: BadIdentity, Message: err.Error(), Err: err}
	}
	auth = &Authorization{
		Value:   identity.Secret(assertion.Header()),
		Scheme:  SchemeAssertion,
		FedRAMP: session.Identity.Account.FedRAMP,
		TaskID:  session.Task.ID,
		Signer:  "agent-assertion",
		task:    session.Task,
		offset:  session.ClockOffset,
	}
	if session.Identity.Protocol == identity.ProtocolAccounts {
		auth.AccountID = session.Identity.Account.WorkspaceID
	}
	if len(s.recent) >= maxRecent {
		clear(s.recent)
	}
	if auth.accepted = s.accepted[session.Task]; auth.accepted == nil {
		if len(s.accepted) >= maxRecent {
			clear(s.accepted)
		}
		auth.accepted = new(atomic.Int64)
		s.accepted[session.Task] = auth.accepted
	}
	s.recent[session.Task] = &madeAssertion{second: second, key: key, auth: auth}
	return auth, nil
}

// clockTolerance is the difference of a time stamp from the server's clock that
// does not matter. Servers accept minutes.
const clockTolerance = 30 * time.Second

// maxOffset is the largest difference from the server's clock that a refusal is believed.
const maxOffset = 10 * time.Minute

// provenFor is how long a task is certainly good that a server has taken.
const provenFor = 5 * time.Minute

// worksElsewhere reports whether a task was refused by a server that takes no
// assertions for such requests, and is good: it was registered or taken a moment
// ago. Inference is asked for with assertions or not at all, and those of the first
// generation, which name no account beside them, are taken for everything.
func (s *AgentAssertion) worksElsewhere(r Request, refused *Authorization) bool {
	if r.Kind != KindAccount || refused.accepted == nil || refused.AccountID == "" {
		return false
	}
	proven := time.Unix(refused.accepted.Load(), 0)
	if at := s.sessions.TaskRegistered(r.Label, refused.task); at.After(proven) {
		proven = at
	}
	return s.now().Sub(proven).Abs() < provenFor
}

// Renew implements [Renewer]. An assertion is refused because its time stamp is
// too far from the server's clock, or because the server does not know the task
// any more. What the time is there the refusal itself has told: what was learnt
// from all answers may be another server's, or older.
func (s *AgentAssertion) Renew(ctx context.Context, r Request, refused *Authorization) (*Authorization, error) {
	offset := s.sessions.ClockOffset()
	skewed := offset != refused.offset
	if !r.RefusedAt.IsZero() {
		// Round strips the monotonic clock, which knows nothing of dates.
		told := r.RefusedAt.Sub(s.now().Round(0)).Truncate(time.Second)
		if told.Abs() > maxOffset {
			return nil, errNotRenewable
		}
		if skewed = (told - refused.offset).Abs() > clockTolerance; skewed {
			offset = told
		}
	}
	if !skewed && (s.worksElsewhere(r, refused) || !s.sessions.TaskRejected(r.Label, refused.task)) {
		return nil, errNotRenewable
	}
	session, err := s.sessions.Session(ctx, r.Label)
	if err != nil {
		return nil, fromIdentity(err)
	}
	s.keep(r.Label, session)
	if skewed {
		session.ClockOffset = offset
	}
	return s.assert(session)
}
