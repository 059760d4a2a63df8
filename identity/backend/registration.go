package backend

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"unicode"

	"github.com/agentproxy/agentproxy/identity"
	"github.com/agentproxy/agentproxy/internal/strictjson"
)

// registerAgent makes the call c, which registers an agent, and returns the runtime id.
func (b *Client) registerAgent(ctx context.Context, c call) (runtimeID string, err error) {
	defer b.observe(OperationRegisterAgent, &err)
	c.doing, c.method = "register the agent", http.MethodPost
	_, raw, err := b.do(ctx, c)
	if err != nil {
		return "", err
	}
	return parseAgentAnswer(c.doing, raw)
}

func parseAgentAnswer(doing string, raw []byte) (string, error) {
	var d strictjson.Decoder
	id := d.Document("answer", raw).Required("agent_runtime_id")
	if d.Err == nil {
		d.Err = checkID("agent_runtime_id", id)
	}
	if d.Err != nil {
		return "", fmt.Errorf("%s: %w", doing, d.Err)
	}
	return id, nil
}

// maxID bounds the ids that the services give out, in bytes. They are part of every
// assertion.
const maxID = 512

// checkID returns an error for an id that would spoil logs and headers.
func checkID(name, id string) error {
	if len(id) > maxID || strings.ContainsFunc(id, unicode.IsControl) {
		return fmt.Errorf("the answer's %s is too long or holds control characters", name)
	}
	return nil
}

// registerTask makes the call c, which registers a task of id, and returns the task.
func (b *Client) registerTask(ctx context.Context, id *identity.Identity, c call) (_ identity.Task, err error) {
	defer b.observe(OperationRegisterTask, &err)
	c.doing, c.method = fmt.Sprintf("register a task of agent identity %q", id.AgentRuntimeID), http.MethodPost
	signature, timestamp := id.Key.SignTaskRegistration(id.AgentRuntimeID, b.config.Clock.Backend())
	if id.Protocol == identity.ProtocolAccounts { // each generation of Codex has its order
		c.body = struct {
			Timestamp string `json:"timestamp"`
			Signature string `json:"signature"`
		}{timestamp, signature}
	} else {
		c.body = struct {
			Signature string `json:"signature"`
			Timestamp string `json:"timestamp"`
		}{signature, timestamp}
	}
	_, raw, err := b.do(ctx, c)
	if err != nil {
		return identity.Task{}, err
	}
	task, err := parseTaskAnswer(id.Key, raw)
	if err != nil {
		return identity.Task{}, fmt.Errorf("%s: %w", c.doing, err)
	}
	return identity.Task{AgentRuntimeID: id.AgentRuntimeID, ID: task}, nil
}

// parseTaskAnswer returns the id of a task in any of the forms that the services use.
func parseTaskAnswer(key *identity.Key, raw []byte) (string, error) {
	var d strictjson.Decoder
	o := d.Document("answer", raw)
	id := cmp.Or(o.Text("task_id"), o.Text("taskId"))
	sealed := cmp.Or(o.Text("encrypted_task_id"), o.Text("encryptedTaskId"))
	if d.Err != nil {
		return "", d.Err
	}
	if id == "" && sealed != "" {
		var err error
		if id, err = key.OpenTaskID(sealed); err != nil {
			return "", err
		}
	}
	if id == "" {
		return "", errors.New("the answer holds no task id")
	}
	return id, checkID("task id", id)
}

// CodexVersion is the version of Codex that this package speaks the protocol of.
const CodexVersion = "0.171.0"

// ABOM is an agent's bill of materials, which is sent when the agent is registered.
type ABOM struct {
	AgentVersion    string `json:"agent_version"`
	AgentHarnessID  string `json:"agent_harness_id"`
	RunningLocation string `json:"running_location"`
}

// NewABOM returns the bill of materials of an agent of this version, on the system that Go
// calls goos. Codex names systems as Rust does.
func NewABOM(version, goos string) ABOM {
	if goos == "darwin" {
		goos = "macos"
	}
	return ABOM{version, "codex-cli", "cli-" + goos}
}
