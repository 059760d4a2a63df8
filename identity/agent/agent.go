// Package agent runs the life of an agent identity.
//
// An [Agent] reads the log-in of a Codex home, finds or registers the identity that
// belongs to it, registers a task for every session label, and refreshes the access token
// before it expires. [Agent.Session] returns what an assertion is made with, and
// [Agent.AccessToken] the Bearer token. Several processes may act for the same log-in: they
// take turns by locks on files, and each takes over what another has done.
//
// The files of an agent are tasks.json, refresh.json, the journal of the last refresh, and
// whoami.json, the accounts of tokens that do not name them.
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
	"github.com/agentproxy/agentproxy/internal/contain"
)

// Event is something that an [Agent] did on its own, for a log. It holds no secret.
type Event struct {
	Message string
	Err     error // nil if all is well
}

// Config holds what an [Agent] acts by.
type Config struct {
	// Home is the Codex home that holds the log-in.
	Home *codex.Home
	// AccessToken replaces the log-in in Home: an access token of a workspace, or the
	// JWT of an agent identity. "": the log-in in Home. AccessTokenName is the place
	// that it is from, for errors.
	AccessToken     identity.Secret
	AccessTokenName string
	// WorkspaceID is the workspace to act in. "": the one that is logged in to.
	WorkspaceID string
	// StateDir is the directory of the agent's files. "": they are kept in memory.
	StateDir string
	// RefreshFile is the journal of the last refresh. All agents that share a log-in
	// must share it, for a refresh token is good once. "": refresh.json in StateDir.
	RefreshFile string
	// Store keeps the identity that is registered. nil: only an identity in auth.json is
	// used.
	Store store.Store
	// Backend registers and refreshes what is missing. nil: nothing is.
	Backend *backend.Client
	// Courtesy is how long the agent waits, before it refreshes the log-in in Home, for a
	// Codex that may be refreshing it at the same moment. 0: there is no Codex.
	Courtesy time.Duration
	// Patience is how long the agent waits, when another program turns out to have refreshed the
	// log-in in Home, for what that writes. 0: it looks once.
	Patience time.Duration
	// Protocol is the protocol of registrations. "": [identity.ProtocolAuto].
	Protocol identity.Protocol
	// Register allows the agent to register tasks and, unless Store is read-only, an
	// identity.
	Register bool
	// Clock is the clock of the servers. nil: that of Backend, else this machine's.
	Clock *backend.Clock
	// ClientOf, if set, returns the client that uses a session label, "" for none in
	// particular, and the network that the client is in. No client's or network's labels take
	// the place of another's tasks.
	ClientOf func(label string) (network, client string)
	// Notify, if set, is called with what the agent does on its own.
	Notify func(Event)
	// Panicked, if set, is called when work that requests wait for has panicked. It is an
	// error of theirs.
	Panicked func(*contain.PanicError)
	// ReadOnly has the agent change nothing, neither files nor what the backend keeps. It
	// refreshes no token, and registers nothing whatever Register says. What it asks the
	// backend to find out whose a token is, it remembers in memory.
	ReadOnly bool
	// WatchAfter is how long Run waits before it watches the log-in for changes. The
	// kernel takes longer to end a watch than a short command runs.
	WatchAfter time.Duration
}

// Agent acts for a log-in and its agent identity. It is safe for concurrent use. Its owner
// must call [Agent.Close].
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
	// answered is the protocol that was answered last, by runtime id. "" stands for
	// agents that are to be registered.
	answered map[string]identity.Protocol
	verified identity.Secret // the JWT that was

	tokenLogin  tokenLogin
	knownTokens map[string]identity.Account // by hash; nil: the file was not read yet
}

// maxRegistrations bounds the tasks that are being registered at a time. With hundreds
// of new labels at once the backend would refuse most.
const maxRegistrations = 10

// heldIdentity is the identity that was found for one version of the log-in and of the
// store.
type heldIdentity struct {
	auth     *codex.Auth
	stored   store.Version
	identity *identity.Identity
}

// heldRecord is the record of one version of the store.
type heldRecord struct {
	version store.Version
	record  *identity.Record
	err     error
}

// New returns the agent for config.
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
	a := &Agent{
		config: config,
		tokens: &tokens{
			home: config.Home, workspace: config.WorkspaceID, backend: config.Backend, clock: config.Clock,
			path: cmp.Or(config.RefreshFile, config.statePath("refresh.json")), notify: config.Notify,
			courtesy: config.Courtesy, patience: config.Patience, readOnly: config.ReadOnly,
		},
		tasks:    newTasks(config.statePath("tasks.json"), config.Clock.Now, config.ClientOf),
		gate:     retry.NewGate(maxRegistrations, backend.RetryAfter),
		unusable: make(map[string]bool),
		answered: make(map[string]identity.Protocol),
	}
	a.tokens.loadLogin = a.loadLogin
	a.identities.Panicked, a.registrations.Panicked, a.verifications.Panicked = config.Panicked, config.Panicked, config.Panicked
	a.whoamis.Panicked, a.tokens.flight.Panicked = config.Panicked, config.Panicked
	return a
}

// statePath returns the path of a file in the state directory, "" if there is none.
func (c *Config) statePath(name string) string {
	if c.StateDir == "" {
		return ""
	}
	return filepath.Join(c.StateDir, name)
}

// Close ends the agent's work and waits for it. The context of [Agent.Run] must have
// ended.
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

// TokenExpiry returns when the access token of the log-in expires, zero if the token does
// not say. It refreshes nothing.
func (a *Agent) TokenExpiry(ctx context.Context) (time.Time, error) {
	view, err := a.tokens.view(ctx)
	if err != nil {
		return time.Time{}, err
	}
	return view.expiry, nil
}

// CanRefresh reports whether there is something to refresh the access token with. It sends
// no request, so that the backend may refuse it all the same.
func (a *Agent) CanRefresh(ctx context.Context) bool {
	view, err := a.tokens.view(ctx)
	return err == nil && view.auth.Tokens != nil && view.auth.Tokens.RefreshToken != "" &&
		a.tokens.hasEnded(view, view.auth.Tokens.RefreshToken) == nil
}

// LoginEnded returns nil as long as the log-in can be refreshed. Then the error wraps
// [identity.ErrLoginEnded] and names the remedy. It sends no request.
func (a *Agent) LoginEnded(ctx context.Context) error {
	view, err := a.tokens.view(ctx)
	if err != nil || view.auth.Tokens == nil {
		return nil
	}
	return a.tokens.hasEnded(view, view.auth.Tokens.RefreshToken)
}

// Task returns the task of a session label, if it has one. It registers nothing.
func (a *Agent) Task(ctx context.Context, label string) (identity.Task, bool) {
	id, err := a.Identity(ctx)
	if err != nil {
		return identity.Task{}, false
	}
	task, _, ok := a.storedTask(id, label)
	return task, ok
}

// TaskRegistered returns when task was registered, zero if the label has another.
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

// Session returns the identity to sign as and its task for a session label. It registers
// what is missing, if that is allowed. A task that is due is used until another one has
// been registered in the background. If the backend has refused the last task of the label
// and no other could be registered since, the error wraps [identity.ErrTaskRefused] and
// [identity.ErrNoTask].
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

// storedTask returns the task for a label, and reports whether it is due to be replaced.
// It registers nothing.
func (a *Agent) storedTask(id *identity.Identity, label string) (task identity.Task, due, ok bool) {
	task, due, ok = a.tasks.get(id.AgentRuntimeID, label)
	if ok && (!due || a.mayRegister()) {
		return task, due, true
	}
	// The record's own task is for the empty label. If none can be registered, it
	// serves all labels.
	own := identity.Task{AgentRuntimeID: id.AgentRuntimeID, ID: id.TaskID}
	if id.TaskID != "" && !a.tasks.isRefused(own) && (label == "" || !a.mayRegister()) {
		return own, false, true
	}
	return task, false, ok
}

func (a *Agent) mayRegister() bool {
	return a.config.Register && a.config.Backend != nil && !a.config.ReadOnly
}

// TaskRejected notes that the backend has refused an assertion for the task of a label. It
// reports whether Session may return another task now.
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

// refuse forgets a task, unless another caller was faster, and reports whether it did and
// whether there may be another task. It runs one at a time: all callers with the same
// refusal get the same answer.
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

// saveTasks writes tasks.json. If that fails, the tasks are kept in memory.
func (a *Agent) saveTasks() {
	a.tokens.warnOnce("the tasks are remembered in memory only", a.tasks.save())
}
