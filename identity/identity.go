// Package identity speaks the protocol of ChatGPT agent identities and reads
// the files that hold them.
//
// A [Key] signs an [Assertion], which authorises a request in the name of an
// agent and a task. The agent's [Record] lies in Codex's auth.json, which
// [codex.Home] reads and [codex.ParseAuth] parses; [Record.Bind] checks that it may act
// for an [Account] and yields the [Identity] that signs.
//
// Signatures are made for the moment that the caller names. No error of this
// package, and no formatting of its exported types, shows a secret.
package identity

import (
	"errors"
	"fmt"
	"time"
	"unicode/utf8"
)

// Account is whom a request is billed to. It holds no secret.
type Account struct {
	// WorkspaceID is the id that the header ChatGPT-Account-ID carries.
	WorkspaceID string
	// UserID is the person in that workspace, "" if nothing names one.
	UserID string
	// Email and PlanType describe the account to people, "" if not known.
	Email    string
	PlanType string
	// FedRAMP accounts send X-OpenAI-Fedramp: true with every request.
	FedRAMP bool
}

// Task is a task that was registered with the backend for an agent.
type Task struct {
	AgentRuntimeID string
	ID             string
}

// Identity is a [Record] that was checked by [Record.Bind]: its key is good,
// and it belongs to the account.
type Identity struct {
	AgentRuntimeID string
	Key            *Key
	Account        Account
	// TaskID is the task that serves a proxy as a whole, "" if there is none.
	TaskID string
	// RegisteredAt is the record's own note of its registration, RFC 3339 as a
	// rule, unchecked, "" if there is none.
	RegisteredAt string
	// Protocol is the generation that it is of. It says which requests carry an
	// assertion, and what goes beside it.
	Protocol Protocol

	// FromJWT says that the record came as a JWT, which the backend has issued.
	FromJWT bool
}

// Assert signs an assertion for t, made at the given moment. It refuses a task
// that was registered for another agent, and one without an id.
func (id *Identity) Assert(t Task, at time.Time) (Assertion, error) {
	if t.AgentRuntimeID != id.AgentRuntimeID {
		return Assertion{}, fmt.Errorf("agent task runtime %s does not match stored agent identity %s", t.AgentRuntimeID, id.AgentRuntimeID)
	}
	if t.ID == "" {
		return Assertion{}, errors.New("agent task has no id: register a task first")
	}
	// The envelope is JSON. It could not carry other bytes to the server that
	// has to check the signature over them.
	if !utf8.ValidString(t.ID) || !utf8.ValidString(t.AgentRuntimeID) {
		return Assertion{}, errors.New("agent task id is not UTF-8: register another task")
	}
	return id.Key.Assert(t.AgentRuntimeID, t.ID, at), nil
}
