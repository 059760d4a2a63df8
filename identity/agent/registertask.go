package agent

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/agentproxy/agentproxy/identity"
	"github.com/agentproxy/agentproxy/identity/backend"
	"github.com/agentproxy/agentproxy/identity/codex"
)

// ensureTask registers a task of id for a label without one.
func (a *Agent) ensureTask(ctx context.Context, id *identity.Identity, label string) (identity.Task, error) {
	task, err := a.firstTask(ctx, id, label)
	if err != nil && a.tasks.lastRefused(id.AgentRuntimeID, label) {
		err = fmt.Errorf("%w: %w", identity.ErrTaskRefused, err)
	}
	return task, err
}

func (a *Agent) firstTask(ctx context.Context, id *identity.Identity, label string) (identity.Task, error) {
	if !a.mayRegister() {
		return identity.Task{}, fmt.Errorf("agent identity %q: %w", id.AgentRuntimeID, identity.ErrNoTask)
	}
	task, err := a.registrations.Do(ctx, taskKey(id, label), a.newTask(id, label))
	if err != nil {
		return identity.Task{}, fmt.Errorf("%w: %w", identity.ErrNoTask, err)
	}
	return task, nil
}

// RenewTask replaces the task of a label if it is due. The error says why the former one
// stays in use. [Agent.Session] does the same in the background.
func (a *Agent) RenewTask(ctx context.Context, label string) error {
	id, err := a.Identity(ctx)
	if err != nil {
		return err
	}
	if _, due, ok := a.storedTask(id, label); !due || !ok {
		return nil
	}
	_, err = a.registrations.Do(ctx, taskKey(id, label), a.newTask(id, label))
	if errors.Is(err, errReplaced) {
		return nil
	}
	return err
}

// beginRenewal replaces a task that is due in the background.
func (a *Agent) beginRenewal(id *identity.Identity, label string) {
	if !a.taskFailed.Waits(a.config.Clock.Now(), accountKey(id)) {
		a.registrations.Start(taskKey(id, label), a.newTask(id, label))
	}
}

// TaskOverdue returns why the task of a label, which is due, was not replaced. It returns
// nil if it was replaced or is not due. It sends no request.
func (a *Agent) TaskOverdue(ctx context.Context, label string) error {
	id, err := a.Identity(ctx)
	if err != nil {
		return nil
	}
	if _, due, ok := a.storedTask(id, label); !due || !ok {
		return nil
	}
	return a.taskFailed.Last(accountKey(id))
}

// TaskDue reports whether the task of a label is due to be replaced.
func (a *Agent) TaskDue(ctx context.Context, label string) bool {
	id, err := a.Identity(ctx)
	if err != nil {
		return false
	}
	_, due, ok := a.tasks.get(id.AgentRuntimeID, label)
	return due && ok
}

// taskKey returns the key of the registration of a task.
func taskKey(id *identity.Identity, label string) string { return id.AgentRuntimeID + "\x00" + label }

// accountKey returns the key under which failed registrations of tasks count: neither the
// label nor, as a rule, the agent is to blame.
func accountKey(id *identity.Identity) [2]string {
	return [2]string{id.Account.WorkspaceID, id.Account.UserID}
}

// newTask returns a function that registers a task for a label that has none, or one that
// is due.
func (a *Agent) newTask(id *identity.Identity, label string) func(context.Context) (identity.Task, error) {
	return func(ctx context.Context) (identity.Task, error) {
		if task, due, ok := a.storedTask(id, label); ok && !due {
			return task, nil // another caller was faster
		}
		a.tasks.reload(id.AgentRuntimeID)
		if task, due, ok := a.storedTask(id, label); ok && !due {
			return task, nil // by another process
		}
		if err := a.gate.Enter(ctx); err != nil {
			return identity.Task{}, err
		}
		defer a.gate.Leave()
		key := accountKey(id)
		if err := a.taskFailed.Ready(a.config.Clock.Now(), key); err != nil {
			return identity.Task{}, err
		}
		task, err := a.registerTask(ctx, id, label)
		failure := err
		if errors.Is(err, errReplaced) {
			failure = nil
		}
		a.taskFailed.Done(a.config.Clock.Now(), key, failure, backend.RetryAfter(failure))
		if ctx.Err() == nil {
			a.warnTask(id, label, failure)
		}
		return task, err
	}
}

// warnTask notifies of the outcome of registering a task.
func (a *Agent) warnTask(id *identity.Identity, label string, failure error) {
	const none, overdue = "no task was registered", "a task is used past its time, for no other was registered"
	_, _, former := a.storedTask(id, label)
	switch {
	case failure == nil:
		a.tokens.warnOnce(none, nil)
		a.tokens.warnOnce(overdue, nil)
	case former:
		a.tokens.warnOnce(overdue, failure)
	default:
		a.tokens.warnOnce(none, failure)
	}
}

// errReplaced says that another identity has taken the place of the one whose task was
// asked for.
var errReplaced = errors.New("the agent identity was replaced meanwhile")

// registerTask registers a task of id for a label. The error is errReplaced if the log-in
// is another's by now, or if another identity took the place of one that the backend does
// not know.
func (a *Agent) registerTask(ctx context.Context, id *identity.Identity, label string) (identity.Task, error) {
	var task identity.Task
	err := a.gate.Do(ctx, func() (err error) {
		task, err = a.registerTaskOf(ctx, id)
		return err
	})
	switch {
	case err == nil:
		a.tasks.put(task, label)
		a.saveTasks()
		return task, nil
	case backend.IsMissing(err):
		return identity.Task{}, a.replaceUnknown(ctx, id, label, err)
	case !errors.Is(err, errAccountChanged):
		return identity.Task{}, err
	}
	next, nextErr := a.ensureIdentity(ctx)
	if nextErr != nil {
		return identity.Task{}, fmt.Errorf("%w; %w", err, nextErr)
	}
	if next.AgentRuntimeID == id.AgentRuntimeID {
		return identity.Task{}, err
	}
	return identity.Task{}, errReplaced
}

// registerTaskOf registers a task of id by the likeliest protocol, or by the other one if
// the first has no such endpoint or does not know the agent. The status of the error is
// the answer to the first.
func (a *Agent) registerTaskOf(ctx context.Context, id *identity.Identity) (identity.Task, error) {
	var failure error
	for _, p := range a.taskProtocols(id) {
		task, err := a.registerTaskBy(ctx, p, id)
		if err == nil {
			a.remember(id.AgentRuntimeID, p)
			return task, nil
		}
		if failure = alsoTried(failure, err); !backend.IsMissing(err) {
			break
		}
	}
	return identity.Task{}, failure
}

// registerTaskBy registers a task of id by p.
func (a *Agent) registerTaskBy(ctx context.Context, p identity.Protocol, id *identity.Identity) (identity.Task, error) {
	register := func() (identity.Task, error) { return a.config.Backend.RegisterTaskByKey(ctx, id) }
	if p == identity.ProtocolBackend {
		biscuit, err := a.taskBiscuit(ctx, id)
		if err != nil {
			return identity.Task{}, err
		}
		register = func() (identity.Task, error) { return a.config.Backend.RegisterTask(ctx, id, biscuit) }
	}
	offset := a.config.Clock.Offset()
	task, err := register()
	if backend.Status(err) == http.StatusUnauthorized && a.config.Clock.Offset() != offset {
		task, err = register() // the refusal has told what time it is
	}
	return task, err
}

// taskBiscuit returns the biscuit for a task registration. It is "" for an identity that
// came as a JWT, which needs none, and for a log-in that consists of the identity, which
// has no token to ask with.
func (a *Agent) taskBiscuit(ctx context.Context, id *identity.Identity) (identity.Secret, error) {
	if id.FromJWT {
		return "", nil
	}
	auth, _, err := a.login(ctx)
	if err != nil {
		return "", err
	}
	if auth == nil || auth.Mode == codex.ModeAgentIdentity && auth.Tokens == nil {
		return "", nil
	}
	view, err := a.tokens.current(ctx)
	if err != nil {
		return "", err
	}
	account, err := view.auth.Account(a.config.WorkspaceID)
	if err != nil {
		return "", err
	}
	if account.WorkspaceID != id.Account.WorkspaceID || id.Account.UserID != "" && account.UserID != id.Account.UserID {
		return "", errAccountChanged
	}
	return a.biscuit(ctx, view, account, a.config.Backend.Endpoints().RegisterTask(id.AgentRuntimeID))
}
