package identity

import (
	"cmp"
	"fmt"
)

// Bind checks that r may act for acct and returns its identity. The workspaces must be
// the same, the users too where acct names one, and the key must be good. A record that
// names no user is refused if acct names one.
//
// The account of the identity is acct, with what acct leaves open taken from r.
func (r *Record) Bind(acct Account) (*Identity, error) {
	if r.WorkspaceID != acct.WorkspaceID || acct.WorkspaceID == "" {
		return nil, fmt.Errorf("agent identity %q %w: it is of %q, wanted is %q",
			r.AgentRuntimeID, ErrOtherWorkspace, r.WorkspaceID, acct.WorkspaceID)
	}
	if acct.UserID != "" && r.UserID != acct.UserID {
		return nil, fmt.Errorf("agent identity %q %w: it is of %q, wanted is %q",
			r.AgentRuntimeID, ErrOtherUser, r.UserID, acct.UserID)
	}
	key, err := ParseKey(r.PrivateKey.Reveal())
	if err != nil {
		return nil, fmt.Errorf("agent identity %q %w: %w", r.AgentRuntimeID, ErrBadKey, err)
	}
	acct.UserID, acct.Email, acct.PlanType = cmp.Or(acct.UserID, r.UserID), cmp.Or(acct.Email, r.Email), cmp.Or(acct.PlanType, r.PlanType)
	acct.FedRAMP = acct.FedRAMP || r.FedRAMP
	return &Identity{
		AgentRuntimeID: r.AgentRuntimeID, Key: key, Account: acct, TaskID: r.TaskID, RegisteredAt: r.RegisteredAt,
		Protocol: r.protocol(), FromJWT: r.JWT != "",
	}, nil
}
