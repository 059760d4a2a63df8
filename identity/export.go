package identity

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
)

// Export returns the identity in use as a record of shape C, private key and default
// task included. The task is registered if there is none or it is due, where that is
// allowed: versions of Codex differ in whether and where they would register one.
func (a *Agent) Export(ctx context.Context) (*Record, error) {
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
	return &Record{
		WorkspaceID: id.Account.WorkspaceID, UserID: id.Account.UserID,
		AgentRuntimeID: id.AgentRuntimeID, PrivateKey: id.Key.Encode(), RegisteredAt: id.RegisteredAt,
		Email: id.Account.Email, PlanType: id.Account.PlanType, FedRAMP: id.Account.FedRAMP,
		TaskID: task.ID, Shape: ShapeC, Protocol: id.Protocol,
	}, nil
}

// WriteCodex writes record, the JSON of [Record.MarshalFor], into Codex's auth.json.
// Where there is none, one is made in which the identity is the log-in.
func (a *Agent) WriteCodex(ctx context.Context, record []byte) error {
	home := a.config.Home
	unlock, err := home.Lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	alone, err := withRecord([]byte(`{"auth_mode":"`+string(ModeAgentIdentity)+`","OPENAI_API_KEY":null}`), record)
	if err != nil {
		return err
	}
	for range createTries {
		err := home.Update(ctx, func(raw []byte, _ *Auth) ([]byte, error) { return withRecord(raw, record) })
		if !errors.Is(err, ErrNoLogin) {
			return err
		}
		if err := home.create(ctx, alone); !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return fmt.Errorf("%s: it is there but cannot be read; it is left as it is", home.Path())
}

// Forget deletes the identity that the agent keeps, and its tasks.
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
