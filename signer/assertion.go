package signer

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/agentproxy/agentproxy/identity"
)

// Sessions provides the identity and the tasks for [AgentAssertion].
type Sessions interface {
	// Session returns the identity and the task for a label.
	Session(ctx context.Context, label string) (identity.Session, error)
	// TaskRejected notes that a server has refused the task of a label, and reports
	// whether Session may return another one now.
	TaskRejected(label string, task identity.Task) bool
	// TaskRegistered returns when the task of a label was registered, zero if that is not
	// known.
	TaskRegistered(label string, task identity.Task) time.Time
	// ClockOffset returns the offset of sessions that Session returns now.
	ClockOffset() time.Duration
}

// AgentAssertion signs as a registered agent identity.
//
// The time stamp of an assertion has whole seconds. All requests of a task within one second
// carry the same header, which is made once.
type AgentAssertion struct {
	sessions Sessions
	now      func() time.Time

	cacheFor time.Duration // of sessions

	mu       sync.RWMutex
	recent   map[identity.Task]*madeAssertion
	cached   map[string]cachedSession        // by label
	accepted map[identity.Task]*atomic.Int64 // see Authorization
}

var _ Renewer = (*AgentAssertion)(nil)

type madeAssertion struct {
	second int64
	key    *identity.Key // that it was made with
	auth   *Authorization
}

// cachedSession is the session of a label a moment ago.
type cachedSession struct {
	session identity.Session
	at      time.Time
}

// maxRecent bounds the assertions that are remembered, one for each task. A proxy that
// serves more tasks within a second signs again.
const maxRecent = 4096

// NewAgentAssertion returns a signer with the identity and the tasks of sessions.
func NewAgentAssertion(sessions Sessions, now func() time.Time) *AgentAssertion {
	return &AgentAssertion{
		sessions: sessions, now: now,
		recent: make(map[identity.Task]*madeAssertion), cached: make(map[string]cachedSession), accepted: make(map[identity.Task]*atomic.Int64),
	}
}

// CacheSessions caches the answers of [Sessions] for d: of many requests at a time, not each
// one needs to look at the files. A refusal ends the caching of a session. It returns s, and
// must be called before s is used.
func (s *AgentAssertion) CacheSessions(d time.Duration) *AgentAssertion {
	s.cacheFor = d
	return s
}

// session returns the session for a label.
func (s *AgentAssertion) session(ctx context.Context, label string) (identity.Session, error) {
	if s.cacheFor > 0 {
		s.mu.RLock()
		cached, ok := s.cached[label]
		s.mu.RUnlock()
		if ok && time.Since(cached.at) < s.cacheFor {
			return cached.session, nil
		}
	}
	session, err := s.sessions.Session(ctx, label)
	if err == nil {
		s.cache(label, session)
	}
	return session, err
}

// cache keeps the session of a label for cacheFor.
func (s *AgentAssertion) cache(label string, session identity.Session) {
	if s.cacheFor == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.cached) >= maxRecent {
		clear(s.cached)
	}
	s.cached[label] = cachedSession{session, time.Now()}
}

// forget ends the caching of the session of a label.
func (s *AgentAssertion) forget(label string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.cached, label)
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

// clockTolerance is a difference between a time stamp and the server's clock that does not
// matter. Servers accept minutes.
const clockTolerance = 30 * time.Second

// maxOffset is the largest difference from the server's clock that a refusal is believed.
const maxOffset = 10 * time.Minute

// provenFor is how long a task certainly stays good after a server has taken it.
const provenFor = 5 * time.Minute

// worksElsewhere reports whether a refused task is good, for it was registered or taken a
// moment ago: the server takes no assertions for requests like r. Inference always takes
// them, and assertions of the first generation, which have no account beside them, are
// taken for everything.
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

// Renew implements [Renewer]. An assertion is refused because its time stamp is too far from
// the server's clock, or because the server no longer knows the task. The refusal's Date
// field gives the server's time; the offset learnt from all answers may be older, or
// another server's.
func (s *AgentAssertion) Renew(ctx context.Context, r Request, refused *Authorization) (*Authorization, error) {
	offset := s.sessions.ClockOffset()
	skewed := offset != refused.offset
	if !r.RefusedAt.IsZero() {
		// Round strips the monotonic clock reading, which has no date.
		offsetThere := r.RefusedAt.Sub(s.now().Round(0)).Truncate(time.Second)
		if offsetThere.Abs() > maxOffset {
			return nil, errNotRenewable
		}
		if skewed = (offsetThere - refused.offset).Abs() > clockTolerance; skewed {
			offset = offsetThere
		}
	}
	if !skewed {
		if s.worksElsewhere(r, refused) {
			return nil, errNotRenewable
		}
		another := s.sessions.TaskRejected(r.Label, refused.task)
		s.forget(r.Label)
		if !another {
			return nil, errNotRenewable
		}
	}
	session, err := s.sessions.Session(ctx, r.Label)
	if err != nil {
		return nil, fromIdentity(err)
	}
	s.cache(r.Label, session)
	if skewed {
		session.ClockOffset = offset
	}
	return s.assert(session)
}
