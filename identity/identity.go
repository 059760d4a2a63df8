// Package identity implements the protocol of ChatGPT agent identities.
//
// A [Record] is an agent identity as it is stored. [Record.Bind] checks that it may act
// for an [Account] and returns the [Identity], whose [Key] signs an [Assertion] for one
// of the agent's tasks. The header of an assertion authorises a request. A server hands
// out the ids of tasks in a sealed box, which [Key.OpenTaskID] opens.
//
// The package opens no file and no connection, and asks no clock: signatures are made
// for the moment that the caller names. The packages below it do the rest. Package codex
// reads and writes Codex's own files, package backend asks the services, package store
// keeps a record, and package agent brings them together into the life of an identity.
//
// No error of this package, and no formatting of its exported types, shows a secret.
package identity

import (
	"errors"
	"fmt"
	"time"
	"unicode/utf8"
)

// Account is the account that a request is billed to. It holds no secret.
type Account struct {
	// WorkspaceID is the id that the header ChatGPT-Account-ID carries.
	WorkspaceID string
	// UserID is the person in that workspace, "" if nothing names one.
	UserID string
	// Email and PlanType describe the account to people. They are "" if not known.
	Email    string
	PlanType string
	// FedRAMP accounts send X-OpenAI-Fedramp: true with every request.
	FedRAMP bool
}

// Task is a task of an agent, registered with the backend. An assertion is for one.
type Task struct {
	AgentRuntimeID string
	ID             string
}

// Identity is a [Record] that [Record.Bind] has checked: its key is good, and it belongs
// to the account.
type Identity struct {
	AgentRuntimeID string
	Key            *Key
	Account        Account
	// TaskID is the task that serves a proxy as a whole, "" if there is none.
	TaskID string
	// RegisteredAt is the time of the registration as the record has it, in RFC 3339
	// as a rule. It is not checked, and "" if there is none.
	RegisteredAt string
	// Protocol is the generation of the protocol that the agent was registered by. It
	// decides which requests carry an assertion, and what goes beside it.
	Protocol Protocol

	// FromJWT says that the record came as a JWT, which the backend has issued.
	FromJWT bool
}

// Assert returns a signed assertion for t, made at the time at. It refuses a task of
// another agent, and one without an id.
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
