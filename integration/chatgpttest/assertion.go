package chatgpttest

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"
)

// maxSkew is how far a timestamp may be from the server's clock.
const maxSkew = 5 * time.Minute

// An envelope is what an AgentAssertion carries.
type envelope struct {
	runtimeID, taskID, timestamp string
	signature                    []byte
}

// parseEnvelope reads the credential after the word AgentAssertion. It takes one
// spelling of each part only: a lenient server would hide a client's mistakes.
func parseEnvelope(credential string) (*envelope, error) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(credential)
	if err != nil || base64.RawURLEncoding.EncodeToString(raw) != credential {
		return nil, errors.New("the envelope is not base64url without padding")
	}
	fields, err := parseStringObject(raw)
	if err != nil {
		return nil, fmt.Errorf("the envelope %w", err)
	}
	var e envelope
	var signature string
	for name, to := range map[string]*string{
		"agent_runtime_id": &e.runtimeID,
		"task_id":          &e.taskID,
		"timestamp":        &e.timestamp,
		"signature":        &signature,
	} {
		v, ok := fields[name]
		if !ok {
			return nil, fmt.Errorf("the envelope lacks %s", name)
		}
		if v == "" {
			return nil, fmt.Errorf("the envelope's %s is empty", name)
		}
		*to = v
		delete(fields, name)
	}
	for name := range fields {
		return nil, fmt.Errorf("the envelope has an unknown key %q", name)
	}
	if e.signature, err = parseSignature(signature); err != nil {
		return nil, err
	}
	return &e, nil
}

// parseStringObject reads one JSON object whose values are strings. Unlike
// json.Unmarshal it refuses duplicate keys and ill-formed UTF-8.
func parseStringObject(raw []byte) (map[string]string, error) {
	if !utf8.Valid(raw) {
		return nil, errors.New("is not UTF-8")
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil, errors.New("is not a JSON object")
	}
	fields := make(map[string]string)
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return nil, errors.New("is not a JSON object")
		}
		key := name.(string) // the decoder takes nothing else for a key
		if _, dup := fields[key]; dup {
			return nil, fmt.Errorf("has the key %q twice", key)
		}
		value, err := dec.Token()
		if err != nil {
			return nil, errors.New("is not a JSON object")
		}
		s, ok := value.(string)
		if !ok {
			return nil, fmt.Errorf("has a %q that is not a string", key)
		}
		fields[key] = s
	}
	if _, err := dec.Token(); err != nil { // the closing brace
		return nil, errors.New("is not a JSON object")
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, errors.New("is followed by something")
	}
	return fields, nil
}

func parseSignature(s string) ([]byte, error) {
	sig, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil || base64.StdEncoding.EncodeToString(sig) != s {
		return nil, errors.New("the signature is not standard base64")
	}
	if len(sig) != ed25519.SignatureSize {
		return nil, fmt.Errorf("the signature has %d bytes, not %d", len(sig), ed25519.SignatureSize)
	}
	return sig, nil
}

// checkTimestamp accepts RFC 3339 in UTC with whole seconds and a Z, not too far
// from now.
func checkTimestamp(timestamp string, now time.Time) error {
	const layout = "2006-01-02T15:04:05Z"
	t, err := time.Parse(layout, timestamp)
	if err != nil || t.Format(layout) != timestamp {
		return fmt.Errorf("the timestamp %q is not of the form %s", timestamp, layout)
	}
	if d := t.Sub(now); d > maxSkew || d < -maxSkew {
		return fmt.Errorf("the timestamp %s is %s away from the server's clock", timestamp, d.Abs().Round(time.Second))
	}
	return nil
}

// verifyAssertion checks an AgentAssertion against the agents that the server
// knows, and returns the account and the generation of the agent.
func (s *Server) verifyAssertion(credential string, now time.Time) (res AuthResult, g Generation, _ *refusal) {
	res = AuthResult{Scheme: SchemeAgentAssertion}
	refuse := func(code, format string, args ...any) (AuthResult, Generation, *refusal) {
		return res, g, &refusal{401, code, fmt.Sprintf(format, args...)}
	}
	e, err := parseEnvelope(credential)
	if err != nil {
		return refuse("invalid_agent_assertion", "%v", err)
	}
	res.AgentRuntimeID, res.TaskID = e.runtimeID, e.taskID

	a := s.agentFor(e)
	if a == nil {
		return refuse("unknown_agent", "no agent %q is registered", e.runtimeID)
	}
	payload := strings.Join([]string{e.runtimeID, e.taskID, e.timestamp}, ":")
	if !ed25519.Verify(a.key, []byte(payload), e.signature) {
		return refuse("invalid_signature", "the signature is not by the key of agent %q", e.runtimeID)
	}
	if err := checkTimestamp(e.timestamp, now); err != nil {
		return refuse("invalid_timestamp", "%v", err)
	}
	if !a.hasTask {
		return refuse("unknown_task", "agent %q has no task %q", e.runtimeID, e.taskID)
	}
	res.WorkspaceID, res.UserID = a.account.WorkspaceID, a.account.UserID
	return res, a.generation, nil
}

// knownAgent is what the server knows of the agent of an envelope.
type knownAgent struct {
	key        ed25519.PublicKey
	generation Generation
	account    Account
	hasTask    bool // of the envelope
}

// agentFor returns the agent of an envelope, nil if there is none. Signatures are verified when
// the server is not locked, or all requests would wait for each other.
func (s *Server) agentFor(e *envelope) *knownAgent {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.state.agents[e.runtimeID]
	if a == nil {
		return nil
	}
	return &knownAgent{a.key, a.generation, a.account, a.tasks[e.taskID]}
}
