package identity

import (
	"encoding/json"
	"fmt"
)

// shapeA is the form of that name.
type shapeA struct {
	WorkspaceID      string `json:"workspace_id"`
	ChatGPTUserID    string `json:"chatgpt_user_id,omitempty"`
	AgentRuntimeID   string `json:"agent_runtime_id"`
	AgentPrivateKey  string `json:"agent_private_key"`
	RegisteredAt     string `json:"registered_at"`
	BackgroundTaskID string `json:"background_task_id,omitempty"`
}

// storedRecord is shape C, and the protocol, which agentproxy alone writes and reads.
type storedRecord struct {
	shapeA
	AccountID string `json:"account_id"`
	Email     string `json:"email"`
	PlanType  string `json:"plan_type"`
	FedRAMP   bool   `json:"chatgpt_account_is_fedramp"`
	TaskID    string `json:"task_id,omitempty"`

	Protocol Protocol `json:"protocol,omitempty"`
}

func (r *Record) shapeA() shapeA {
	return shapeA{r.WorkspaceID, r.UserID, r.AgentRuntimeID, r.PrivateKey.Reveal(), r.RegisteredAt, r.TaskID}
}

// MarshalShapeC returns r as JSON in shape C, private key included.
func (r *Record) MarshalShapeC() []byte {
	raw, err := json.MarshalIndent(storedRecord{
		shapeA:    r.shapeA(),
		AccountID: r.WorkspaceID, Email: r.Email, PlanType: r.PlanType, FedRAMP: r.FedRAMP, TaskID: r.TaskID,
		Protocol: r.Protocol,
	}, "", "  ")
	if err != nil {
		panic(err) // strings and a bool cannot fail to encode
	}
	return append(raw, '\n')
}

// MarshalFor returns r, which must not be a JWT, as JSON in a shape that Codex reads,
// private key included. [Shape.Refusers] tells which versions do not read it.
func (r *Record) MarshalFor(shape Shape) ([]byte, error) {
	var v any
	switch shape {
	case ShapeA:
		v = r.shapeA()
	case ShapeN:
		v = struct {
			AgentRuntimeID  string `json:"agent_runtime_id"`
			AgentPrivateKey string `json:"agent_private_key"`
			AccountID       string `json:"account_id"`
			ChatGPTUserID   string `json:"chatgpt_user_id"`
			Email           string `json:"email,omitempty"`
			PlanType        string `json:"plan_type"`
			FedRAMP         bool   `json:"chatgpt_account_is_fedramp"`
			TaskID          string `json:"task_id,omitempty"`
		}{r.AgentRuntimeID, r.PrivateKey.Reveal(), r.WorkspaceID, r.UserID, r.Email, r.PlanType, r.FedRAMP, r.TaskID}
	case ShapeC:
		unmarked := *r
		unmarked.Protocol = "" // which is agentproxy's own
		return unmarked.MarshalShapeC(), nil
	default:
		return nil, fmt.Errorf("%q is none of the shapes A, C, N", shape)
	}
	raw, err := json.MarshalIndent(v, "", "  ")
	return append(raw, '\n'), err
}

// Refusers returns, in words, the versions of Codex that refuse an auth.json with an
// identity of this shape as a whole. Such a file logs them out.
func (s Shape) Refusers() string {
	switch s {
	case ShapeA:
		return "Codex 0.124 and later"
	case ShapeB:
		return "Codex 0.121 to 0.125"
	case ShapeN:
		return "Codex 0.121 to 0.123, and 0.128 to 0.141"
	}
	return "Codex 0.128 to 0.141"
}

// ShapeOf returns the shape for an identity of the protocol p. Of the versions of Codex
// that speak p, most read it.
func ShapeOf(p Protocol) Shape {
	if p == ProtocolAccounts {
		return ShapeN
	}
	return ShapeC
}

// Encode returns r as it is stored. A JWT stays one, for only the JWT proves who has
// issued it.
func (r *Record) Encode() []byte {
	if r.JWT != "" {
		raw, err := json.Marshal(r.JWT.Reveal())
		if err != nil {
			panic(err)
		}
		return append(raw, '\n')
	}
	return r.MarshalShapeC()
}
