package identity

import (
	"encoding/json"
	"runtime"
)

const isWindows = runtime.GOOS == "windows"

// storedRecord is shape C, with the protocol for agentproxy alone.
type storedRecord struct {
	WorkspaceID      string `json:"workspace_id"`
	ChatGPTUserID    string `json:"chatgpt_user_id,omitempty"`
	AgentRuntimeID   string `json:"agent_runtime_id"`
	AgentPrivateKey  string `json:"agent_private_key"`
	RegisteredAt     string `json:"registered_at"`
	BackgroundTaskID string `json:"background_task_id,omitempty"`

	AccountID string `json:"account_id"`
	Email     string `json:"email"`
	PlanType  string `json:"plan_type"`
	FedRAMP   bool   `json:"chatgpt_account_is_fedramp"`
	TaskID    string `json:"task_id,omitempty"`

	Protocol Protocol `json:"protocol,omitempty"`
}

// MarshalShapeC returns r as JSON in shape C, private key included. task is the
// task to name in it, "" for the record's own.
func (r *Record) MarshalShapeC(task string) []byte {
	if task == "" {
		task = r.TaskID
	}
	raw, err := json.MarshalIndent(storedRecord{
		WorkspaceID: r.WorkspaceID, ChatGPTUserID: r.UserID,
		AgentRuntimeID: r.AgentRuntimeID, AgentPrivateKey: r.PrivateKey.Reveal(),
		RegisteredAt: r.RegisteredAt, BackgroundTaskID: task,
		AccountID: r.WorkspaceID, Email: r.Email, PlanType: r.PlanType, FedRAMP: r.FedRAMP, TaskID: task,
		Protocol: r.Protocol,
	}, "", "  ")
	if err != nil {
		panic(err) // strings and a bool cannot fail to encode
	}
	return append(raw, '\n')
}

// encode returns r as it is stored: a JWT stays one, since only the JWT proves
// where it is from.
func (r *Record) encode() []byte {
	if r.JWT != "" {
		raw, err := json.Marshal(r.JWT.Reveal())
		if err != nil {
			panic(err)
		}
		return append(raw, '\n')
	}
	return r.MarshalShapeC("")
}
