package agent

import (
	"cmp"
	"context"
	"errors"
	"path/filepath"
	"sync"
	"time"

	"github.com/agentproxy/agentproxy/identity"
	"github.com/agentproxy/agentproxy/identity/agent/retry"
	"github.com/agentproxy/agentproxy/identity/backend"
	"github.com/agentproxy/agentproxy/identity/codex"
	"github.com/agentproxy/agentproxy/identity/store"
)

// Event is something that an [Agent] did on its own and that people want to
// know of. It holds no secret.
type Event struct {
	Message string
	Err     error // nil if all is well
}

// AgentConfig says as whom an [Agent] acts.
type Config struct {
	// Home is where the log-in is.
	Home *codex.Home
	// AccessToken is the log-in, in place of that in Home: an access token of a
	// workspace, or the JWT of an agent identity. "": that in Home. AccessTokenName
	// says where it is from.
	AccessToken     identity.Secret
	AccessTokenName string
	// WorkspaceID is the one workspace to act in. "": the one logged in to.
	WorkspaceID string
	// StateDir keeps the tasks and the last refresh. "": in memory only.
	StateDir string
	// RefreshFile keeps the last refresh elsewhere. All agents that share a log-in
	// must share it, for a refresh token is good once. "": in StateDir.
	RefreshFile string
	// Store keeps the identity that is registered. nil: only what Codex's
	// auth.json holds is used.
	Store store.Store
	// Backend is asked for what is missing. nil: nothing is asked for.
	Backend *backend.Client
	// Courtesy is how long Codex, which may be asking for tokens at the same moment, is
	// given before the log-in in Home is refreshed. 0: it is not there.
	Courtesy time.Duration
	// Protocol is how agents and tasks are registered. "": [identity.ProtocolAuto].
	Protocol identity.Protocol
	// Register allows to register an identity, unless Store is read-only, and tasks.
	Register bool
	// Clock tells the time. nil: that of Backend, else this machine's.
	Clock *backend.Clock
	// Notify is told what the agent does on its own. nil: nobody.
	Notify func(Event)
	// WatchAfter is how long Run goes on before it watches the log-in for changes. To
	// end a watch takes the kernel longer than a short command runs.
	WatchAfter time.Duration
}

// Agent answers for a log-in and its agent identity: it registers the identity
// and its tasks when they are needed, and keeps the access token fresh. It is
// safe for concurrent use. [Agent.Close] must be called to release it.
type Agent struct {
	config Config
	tokens *tokens
	tasks  *tasks

	identities     retry.Flight[*identity.Identity]
	registrations  retry.Flight[identity.Task]
	verifications  retry.Flight[struct{}]
	whoamis        retry.Flight[identity.Account]
	whoamiFailed   retry.Backoff
	identityFailed retry.Backoff
	verifyFailed   retry.Backoff
	taskFailed     retry.Backoff
	replacements   retry.Cooldown // of identities that the backend does not know
	renewals       perLabel[retry.Cooldown]
	gate           *retry.Gate // of task registrations
	refusing       sync.Mutex  // held while a task is refused

	background sync.WaitGroup // what watches the log-in

	mu       sync.Mutex
	held     heldIdentity
	stored   heldRecord
	unsaved  *identity.Record // registered, but the store could not take it
	unusable map[string]bool  // runtime ids that the backend does not know
	// answered is the protocol that was answered last for a runtime id; "" is for
	// agents that are to be registered.
	answered map[string]identity.Protocol
	verified identity.Secret // the JWT that was

	tokenLogin  tokenLogin
	knownTokens map[string]identity.Account // by hash; nil: the file was not read yet
}

// maxRegistrations bounds the tasks that are being registered at a time. With hundreds
// of new labels at once the backend would refuse most.
const maxRegistrations = 10

// heldIdentity is the identity that was found for one version of the log-in and
// of the store.
type heldIdentity struct {
	auth     *codex.Auth
	stored   store.Version
	identity *identity.Identity
}

// heldRecord is what one version of the store holds.
type heldRecord struct {
	version store.Version
	record  *identity.Record
	err     error
}

// NewAgent returns the agent for config.
func New(config Config) *Agent {
	if config.Clock == nil && config.Backend != nil {
		config.Clock = config.Backend.Clock() // which learns
	}
	if config.Clock == nil {
		config.Clock = backend.NewClock(nil, nil)
	}
	if config.Notify == nil {
		config.Notify = func(Event) {}
	}
	config.Protocol = cmp.Or(config.Protocol, identity.ProtocolAuto)
	inState := func(name string) string {
		if config.StateDir == "" {
			return ""
		}
		return filepath.Join(config.StateDir, name)
	}
	a := &Agent{
		config: config,
		tokens: &tokens{
			home: config.Home, workspace: config.WorkspaceID, backend: config.Backend, clock: config.Clock,
			path: cmp.Or(config.RefreshFile, inState("refresh.json")), notify: config.Notify,
			courtesy: config.Courtesy,
		},
		tasks:    newTasks(inState("tasks.json"), config.Clock.Now),
		gate:     retry.NewGate(maxRegistrations, backend.RetryAfter),
		unusable: make(map[string]bool),
		answered: make(map[string]identity.Protocol),
	}
	a.tokens.loadLogin = a.loadLogin
	return a
}

// Close ends what the agent is doing and waits for it. The context of
// [Agent.Run] must have ended.
func (a *Agent) Close() {
	a.background.Wait()
	a.registrations.Close()
	a.identities.Close()
	a.verifications.Close()
	a.whoamis.Close()
	a.tokens.flight.Close()
}

// AccessToken returns the access token of the log-in, refreshed if need be.
func (a *Agent) AccessToken(ctx context.Context) (identity.AccessToken, error) {
	view, err := a.tokens.current(ctx)
	if err != nil {
		return identity.AccessToken{}, err
	}
	if view.expired(a.config.Clock.Backend()) {
		return identity.AccessToken{}, view.errExpired()
	}
	return view.token, nil
}

// TokenExpiry returns when the access token of the log-in expires, zero if it
// does not say. It refreshes nothing.
func (a *Agent) TokenExpiry(ctx context.Context) (time.Time, error) {
	view, err := a.tokens.view(ctx)
	if err != nil {
		return time.Time{}, err
	}
	return view.expiry, nil
}

// LoginEnded returns an error that wraps [identity.ErrLoginEnded] and names the remedy if
// the log-in cannot be refreshed any more. It asks nobody.
func (a *Agent) LoginEnded(ctx context.Context) error {
	view, err := a.tokens.view(ctx)
	if err != nil || view.auth.Tokens == nil {
		return nil
	}
	return a.tokens.hasEnded(view, view.auth.Tokens.RefreshToken)
}

// Task returns the task that is remembered for a label. It registers nothing.
func (a *Agent) Task(ctx context.Context, label string) (identity.Task, bool) {
	id, err := a.Identity(ctx)
	if err != nil {
		return identity.Task{}, false
	}
	task, _, ok := a.storedTask(id, label)
	return task, ok
}

// TaskRegistered returns when the task that is remembered for a label was
// registered, zero if it is another one.
func (a *Agent) TaskRegistered(label string, task identity.Task) time.Time {
	return a.tasks.registeredAt(task, label)
}

// RenewToken returns the access token to use after the backend has refused one.
func (a *Agent) RenewToken(ctx context.Context, refused identity.Secret) (identity.AccessToken, error) {
	view, err := a.tokens.rejected(ctx, refused)
	if err != nil {
		return identity.AccessToken{}, err
	}
	return view.token, nil
}

// ClockOffset returns how far the backend's clock is ahead of this machine's.
func (a *Agent) ClockOffset() time.Duration { return a.config.Clock.Offset() }

// Session returns the identity to sign as and its task for a session label,
// registering what is missing if that is allowed. A task that is due is replaced
// in the background, and used until then. Where the backend has refused the last
// task of the label, and no other could be had since, the error wraps
// [identity.ErrTaskRefused] and [identity.ErrNoTask].
func (a *Agent) Session(ctx context.Context, label string) (identity.Session, error) {
	for again := true; ; again = false {
		id, err := a.ensureIdentity(ctx)
		if err != nil {
			return identity.Session{}, err
		}
		task, due, ok := a.storedTask(id, label)
		switch {
		case !ok:
			task, err = a.ensureTask(ctx, id, label)
		case due:
			a.beginRenewal(id, label)
		}
		if again && errors.Is(err, errReplaced) {
			continue
		}
		if err != nil {
			return identity.Session{}, err
		}
		return identity.Session{Identity: id, Task: task, ClockOffset: a.config.Clock.Offset()}, nil
	}
}

// storedTask returns the task for a label, without registering one, and whether
// it is due to be replaced.
func (a *Agent) storedTask(id *identity.Identity, label string) (task identity.Task, due, ok bool) {
	task, due, ok = a.tasks.get(id.AgentRuntimeID, label)
	if ok && (!due || a.mayRegister()) {
		return task, due, true
	}
	// The record's own task serves the proxy as a whole. Where none can be
	// registered it serves every session.
	own := identity.Task{AgentRuntimeID: id.AgentRuntimeID, ID: id.TaskID}
	if id.TaskID != "" && !a.tasks.isRefused(own) && (label == "" || !a.mayRegister()) {
		return own, false, true
	}
	return task, false, ok
}

func (a *Agent) mayRegister() bool { return a.config.Register && a.config.Backend != nil }

// TaskRejected is told that the backend has refused an assertion for a task. It
// reports whether there is something new to sign with, or may be.
func (a *Agent) TaskRejected(label string, task identity.Task) bool {
	if !a.mayRegister() {
		a.tasks.keepRefused(task, label)
		return false
	}
	refused, again := a.refuse(label, task)
	if refused {
		a.saveTasks()
	}
	return again
}

// refuse forgets a task unless somebody was faster. All who come with the same
// refusal get the same answer, so that it is one at a time.
func (a *Agent) refuse(label string, task identity.Task) (refused, again bool) {
	a.refusing.Lock()
	defer a.refusing.Unlock()
	if current, _, ok := a.tasks.get(task.AgentRuntimeID, label); ok && current != task {
		return false, true
	}
	if a.tasks.isRefused(task) {
		return false, true
	}
	now, renewal := a.config.Clock.Now(), a.renewals.of(label)
	if !renewal.Ready(now) {
		return false, false
	}
	renewal.Count(now)
	a.tasks.refuse(task, label)
	return true, true
}

// saveTasks writes tasks.json. Without it the tasks live in memory.
func (a *Agent) saveTasks() {
	a.tokens.warnOnce("the tasks are remembered in memory only", a.tasks.save())
}
