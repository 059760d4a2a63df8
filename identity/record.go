package identity

import (
	"bytes"
	"fmt"
	"time"

	"github.com/agentproxy/agentproxy/internal/strictjson"
)

// Shape is the form in which a record is stored. Versions of Codex differ in which they
// read.
type Shape string

// The shapes that a record is stored in.
const (
	ShapeA Shape = "A" // an object with workspace_id
	ShapeB Shape = "B" // a JWT
	ShapeC Shape = "C" // A and N in one object
	ShapeN Shape = "N" // an object with account_id
)

// Record is an agent identity as it is stored, in auth.json or elsewhere. Its key is not
// checked, and it is bound to no account yet: see [Record.Bind].
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
	// Protocol is the one that the agent was registered by, "" if the record does not
	// say.
	Protocol Protocol
	JWT      Secret // of shape B, the whole token; it holds the private key
}

// ParseRecord parses a record in any shape: a JSON object (A, C, N), a JWT, or a JWT as a
// JSON string (both B).
//
// It does NOT verify the signature of a JWT, and takes its claims and its expiry as they
// stand. A caller that has a JWT from an untrusted place must verify it against the
// backend's key set first.
func ParseRecord(raw []byte) (*Record, error) {
	raw = bytes.TrimSpace(raw)
	const name = "agent_identity"
	if bytes.HasPrefix(raw, []byte("eyJ")) { // a JWT without quotes
		record, err := recordFromJWT(string(raw))
		if err != nil {
			return nil, &strictjson.Error{Path: name, Reason: err.Error()}
		}
		return record, nil
	}
	var d strictjson.Decoder
	return RecordFrom(d.Value(name, raw), &d)
}

// RecordFrom is [ParseRecord] for a value within a document. d is the decoder of v.
func RecordFrom(v strictjson.Value, d *strictjson.Decoder) (*Record, error) {
	if v.IsString() {
		record, err := recordFromJWT(v.Text())
		if err != nil {
			v.Fail(err.Error())
			return nil, d.Err
		}
		return record, nil
	}
	o := v.Object()
	r := &Record{
		WorkspaceID:    o.Text("workspace_id"),
		UserID:         o.Text("chatgpt_user_id"),
		AgentRuntimeID: o.Required("agent_runtime_id"),
		PrivateKey:     Secret(o.Required("agent_private_key")),
		RegisteredAt:   o.Text("registered_at"),
		TaskID:         o.Text("background_task_id"),
		Email:          o.Text("email"),
		PlanType:       o.Text("plan_type"),
		FedRAMP:        o.Bool("chatgpt_account_is_fedramp"),
		Shape:          ShapeA,
	}
	if r.TaskID == "" {
		r.TaskID = o.Text("task_id")
	}
	if account := o.Text("account_id"); account != "" {
		if r.WorkspaceID != "" && r.WorkspaceID != account {
			o.Get("account_id").Fail("names another account than workspace_id")
		}
		r.Shape = ShapeC
		if r.WorkspaceID == "" {
			r.Shape = ShapeN
		}
		r.WorkspaceID = account
	}
	switch r.Protocol = Protocol(o.Text("protocol")); r.Protocol {
	case "", ProtocolAccounts, ProtocolBackend:
	default:
		o.Get("protocol").Fail(fmt.Sprintf("%.40q is neither accounts nor backend", r.Protocol))
	}
	if r.WorkspaceID == "" {
		o.Get("workspace_id").Fail("missing")
	}
	if d.Err != nil {
		return nil, d.Err
	}
	return r, nil
}

// Account returns the account that the record is of.
func (r *Record) Account() Account {
	return Account{r.WorkspaceID, r.UserID, r.Email, r.PlanType, r.FedRAMP}
}

// protocol returns the protocol that the agent was registered by. The shape of a record
// that does not say tells: Codex 0.123 and before write A, later versions B and N, and
// agentproxy wrote C when it knew only the first generation.
func (r *Record) protocol() Protocol {
	switch {
	case r.Protocol != "":
		return r.Protocol
	case r.Shape == ShapeB || r.Shape == ShapeN:
		return ProtocolAccounts
	}
	return ProtocolBackend
}

func recordFromJWT(jwt string) (*Record, error) {
	payload, err := jwtPayload(jwt)
	if err != nil {
		return nil, err
	}
	var d strictjson.Decoder // offsets within the claims mean nothing outside
	o := d.Document("claims", payload)
	r := &Record{
		WorkspaceID:    o.Required("account_id"),
		UserID:         o.Text("chatgpt_user_id"),
		AgentRuntimeID: o.Required("agent_runtime_id"),
		PrivateKey:     Secret(o.Required("agent_private_key")),
		Expiry:         o.Seconds("exp"),
		Email:          o.Text("email"),
		PlanType:       o.Text("plan_type"),
		FedRAMP:        o.Bool("chatgpt_account_is_fedramp"),
		Shape:          ShapeB,
		JWT:            Secret(jwt),
	}
	if issued := o.Seconds("iat"); !issued.IsZero() {
		r.RegisteredAt = issued.Format(time.RFC3339)
	}
	if d.Err != nil {
		return nil, d.Err
	}
	return r, nil
}
