package identity

import (
	"crypto/ed25519"
	"encoding/base64"
	"time"

	"github.com/agentproxy/agentproxy/internal/strictjson"
)

const assertionScheme = "AgentAssertion"

// timestampLayout is RFC 3339 in UTC, with whole seconds.
const timestampLayout = "2006-01-02T15:04:05Z"

// Assertion states that an agent makes a request for one of its tasks. The signature is
// over "{agent_runtime_id}:{task_id}:{timestamp}". Servers accept an assertion for about
// five minutes.
type Assertion struct {
	AgentRuntimeID string
	Signature      string // standard base64
	TaskID         string
	Timestamp      string // RFC 3339, UTC, whole seconds
}

// Assert returns a signed assertion, made at the time at. The ids must be UTF-8:
// [Identity.Assert] checks that, and that task and agent belong together.
func (k *Key) Assert(runtimeID, taskID string, at time.Time) Assertion {
	a := Assertion{AgentRuntimeID: runtimeID, TaskID: taskID, Timestamp: at.UTC().Format(timestampLayout)}
	a.Signature = base64.StdEncoding.EncodeToString(ed25519.Sign(k.private, a.payload()))
	return a
}

// SignTaskRegistration returns the signature of "{agent_runtime_id}:{timestamp}", by
// which a task is registered, in standard base64.
func (k *Key) SignTaskRegistration(runtimeID string, at time.Time) (signature, timestamp string) {
	timestamp = at.UTC().Format(timestampLayout)
	sig := ed25519.Sign(k.private, []byte(runtimeID+":"+timestamp))
	return base64.StdEncoding.EncodeToString(sig), timestamp
}

func (a Assertion) payload() []byte {
	return []byte(a.AgentRuntimeID + ":" + a.TaskID + ":" + a.Timestamp)
}

// Envelope returns the JSON object that the header carries. Its keys are in alphabetical
// order, and it has neither spaces nor escapes that JSON does not require.
func (a Assertion) Envelope() []byte {
	b := make([]byte, 0, 96+len(a.AgentRuntimeID)+len(a.Signature)+len(a.TaskID)+len(a.Timestamp))
	b = strictjson.AppendString(append(b, `{"agent_runtime_id":`...), a.AgentRuntimeID)
	b = strictjson.AppendString(append(b, `,"signature":`...), a.Signature)
	b = strictjson.AppendString(append(b, `,"task_id":`...), a.TaskID)
	b = strictjson.AppendString(append(b, `,"timestamp":`...), a.Timestamp)
	return append(b, '}')
}

// Header returns the value of the Authorization header field: "AgentAssertion " and the
// envelope in base64url without padding.
func (a Assertion) Header() string {
	envelope := a.Envelope()
	b := make([]byte, 0, len(assertionScheme)+1+base64.RawURLEncoding.EncodedLen(len(envelope)))
	b = append(b, assertionScheme+" "...)
	return string(base64.RawURLEncoding.AppendEncode(b, envelope))
}
