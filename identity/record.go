package identity

import (
	"bytes"
	"fmt"
	"time"
)

// Shape tells how a record was stored. Versions of Codex differ in which they
// read.
type Shape string

// The shapes that a record is stored in.
const (
	ShapeA Shape = "A" // an object with workspace_id
	ShapeB Shape = "B" // a JWT
	ShapeC Shape = "C" // A and N in one object
	ShapeN Shape = "N" // an object with account_id
)

// Record is an agent identity as it is stored, in auth.json or elsewhere. Its
// key is not checked and it is bound to no account yet: see [Record.Bind].
type Record struct {
	WorkspaceID    string
	UserID         string // "" if the record names none
	AgentRuntimeID string
	PrivateKey     Secret
	RegisteredAt   string    // as stored: RFC 3339 as a rule, "" if absent
	Expiry         time.Time // of shape B, zero if it does not expire
	TaskID         string    // the background task, "" if there is none
	Email          string
	PlanType       string
	FedRAMP        bool
	Shape          Shape
	// Protocol is how the agent was registered, "" if the record does not say.
	Protocol Protocol
	JWT      Secret // of shape B, the whole token; it holds the private key
}

// ParseRecord reads a record in any shape: a JSON object (A, C, N), a JWT, or a JWT
// as a JSON string (both B).
//
// A JWT's signature is NOT verified: its claims are taken as they stand, and
// so is its expiry. Whoever takes a JWT from an untrusted place has to verify
// it against the backend's key set first.
func ParseRecord(raw []byte) (*Record, error) {
	raw = bytes.TrimSpace(raw)
	var d decoder
	v := value{d: &d, path: "agent_identity", raw: raw}
	if bytes.HasPrefix(raw, []byte("eyJ")) { // a JWT without quotes
		return recordFromJWT(v, string(raw))
	}
	return parseRecord(v.checked())
}

func parseRecord(v value) (*Record, error) {
	if !v.absent() && v.raw[0] == '"' {
		return recordFromJWT(v, v.string())
	}
	o := v.object()
	r := &Record{
		WorkspaceID:    o.string("workspace_id"),
		UserID:         o.string("chatgpt_user_id"),
		AgentRuntimeID: o.required("agent_runtime_id"),
		PrivateKey:     Secret(o.required("agent_private_key")),
		RegisteredAt:   o.string("registered_at"),
		TaskID:         o.string("background_task_id"),
		Email:          o.string("email"),
		PlanType:       o.string("plan_type"),
		FedRAMP:        o.bool("chatgpt_account_is_fedramp"),
		Shape:          ShapeA,
	}
	if r.TaskID == "" {
		r.TaskID = o.string("task_id")
	}
	if account := o.string("account_id"); account != "" {
		if r.WorkspaceID != "" && r.WorkspaceID != account {
			o.get("account_id").fail("names another account than workspace_id")
		}
		r.Shape = ShapeC
		if r.WorkspaceID == "" {
			r.Shape = ShapeN
		}
		r.WorkspaceID = account
	}
	switch r.Protocol = Protocol(o.string("protocol")); r.Protocol {
	case "", ProtocolAccounts, ProtocolBackend:
	default:
		o.get("protocol").fail(fmt.Sprintf("%.40q is neither accounts nor backend", r.Protocol))
	}
	if r.WorkspaceID == "" {
		o.get("workspace_id").fail("missing")
	}
	if v.d.err != nil {
		return nil, v.d.err
	}
	return r, nil
}

// protocol returns how the agent was registered. A record that does not say tells
// by its shape whose it is: A is of Codex 0.123 and before, B and N are of later
// versions, and C is agentproxy's own from when it knew only the first generation.
func (r *Record) protocol() Protocol {
	switch {
	case r.Protocol != "":
		return r.Protocol
	case r.Shape == ShapeB || r.Shape == ShapeN:
		return ProtocolAccounts
	}
	return ProtocolBackend
}

func recordFromJWT(v value, jwt string) (*Record, error) {
	payload, err := jwtPayload(jwt)
	if err != nil {
		v.fail(err.Error())
		return nil, v.d.err
	}
	var d decoder // offsets within the claims mean nothing outside
	o := d.document("claims", payload)
	r := &Record{
		WorkspaceID:    o.required("account_id"),
		UserID:         o.string("chatgpt_user_id"),
		AgentRuntimeID: o.required("agent_runtime_id"),
		PrivateKey:     Secret(o.required("agent_private_key")),
		Expiry:         o.seconds("exp"),
		Email:          o.string("email"),
		PlanType:       o.string("plan_type"),
		FedRAMP:        o.bool("chatgpt_account_is_fedramp"),
		Shape:          ShapeB,
		JWT:            Secret(jwt),
	}
	if issued := o.seconds("iat"); !issued.IsZero() {
		r.RegisteredAt = issued.Format(time.RFC3339)
	}
	if d.err != nil {
		v.fail(d.err.Error())
		return nil, v.d.err
	}
	return r, nil
}
