package agent

import (
	"context"

	"github.com/agentproxy/agentproxy/identity"
)

// Export returns the identity in use as a record of shape C, with its private key and a
// task. If the task is missing or due, and that is allowed, another is registered: not
// every version of Codex would do so.
func (a *Agent) Export(ctx context.Context) (*identity.Record, error) {
	id, err := a.Identity(ctx)
	if err != nil {
		return nil, err
	}
	_ = a.RenewTask(ctx, "") // which tells why not; the former one may do
	task, _, ok := a.storedTask(id, "")
	if !ok && a.mayRegister() {
		if task, err = a.ensureTask(ctx, id, ""); err != nil {
			return nil, err
		}
	}
	return &identity.Record{
		WorkspaceID: id.Account.WorkspaceID, UserID: id.Account.UserID,
		AgentRuntimeID: id.AgentRuntimeID, PrivateKey: id.Key.Encode(), RegisteredAt: id.RegisteredAt,
		Email: id.Account.Email, PlanType: id.Account.PlanType, FedRAMP: id.Account.FedRAMP,
		TaskID: task.ID, Shape: identity.ShapeC, Protocol: id.Protocol,
	}, nil
}

// Forget deletes the identity in the store, and its tasks.
func (a *Agent) Forget() error {
	if err := a.config.Store.Remove(); err != nil {
		return err
	}
	a.mu.Lock()
	a.unsaved = nil
	a.mu.Unlock()
	a.forget()
	a.tasks.clear()
	return a.tasks.save()
}
