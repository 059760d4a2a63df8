package agent

import (
	"context"
	"fmt"

	"github.com/agentproxy/agentproxy/identity"
)

// replaceUnknown replaces an identity for which no task could be registered. cause says
// that something is missing: the agent or, for a while, the endpoint. Nothing is lost if it
// is the endpoint, for another identity takes the place of this one only once it has a
// task. The error is errReplaced if it has, or if another process was faster.
func (a *Agent) replaceUnknown(ctx context.Context, id *identity.Identity, label string, cause error) error {
	if a.readOnly() || a.config.Store == nil {
		return cause
	}
	unlock, err := a.lockState(ctx)
	if err != nil {
		return fmt.Errorf("%w; %w", cause, err)
	}
	defer unlock()
	a.forget() // another process may have been here first
	auth, account, err := a.login(ctx)
	if err != nil {
		return fmt.Errorf("%w; %w", cause, err)
	}
	if now, err := a.find(ctx, auth, account); err == nil && now.AgentRuntimeID != id.AgentRuntimeID {
		return errReplaced
	}
	// A backend that does not know the one it has just registered will not know the
	// next one either.
	now := a.config.Clock.Now()
	if !canVouch(auth) || !a.replacements.Ready(now) {
		return cause
	}
	a.replacements.Count(now)
	p := a.taskProtocols(id)[0]
	record, next, err := a.newIdentity(ctx, []identity.Protocol{p})
	if err != nil {
		return fmt.Errorf("%w; no other agent: %w", cause, err)
	}
	task, err := a.registerTaskBy(ctx, p, next)
	if err != nil {
		return fmt.Errorf("%w; another agent fares no better: %w", cause, err)
	}
	a.mu.Lock()
	a.unusable[id.AgentRuntimeID] = true // where it is Codex's, it stays in auth.json
	a.mu.Unlock()
	a.adopt(record)
	a.tasks.put(task, label)
	a.saveTasks()
	a.config.Notify(Event{Message: fmt.Sprintf("agent identity %q is not used any more", id.AgentRuntimeID), Err: cause})
	return errReplaced
}
