package chatgpttest

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// serveRegisterAgent answers POST v1/agent/register of the backend, for which a
// biscuit vouches.
func (s *Server) serveRegisterAgent(w http.ResponseWriter, r *http.Request, x *exchange) {
	if account := s.verifyBiscuit(w, r, x); account != nil {
		s.registerAgent(w, r, *account, FirstGeneration)
	}
}

// serveRegisterAccountsAgent answers POST api/accounts/v1/agent/register of
// auth.openai.com, where the access token vouches.
func (s *Server) serveRegisterAccountsAgent(w http.ResponseWriter, r *http.Request, x *exchange) {
	if biscuits := r.Header.Values("X-OpenAI-Authorization"); len(biscuits) > 0 {
		writeError(w, http.StatusBadRequest, "invalid_request", "a biscuit where none is asked for")
		return
	}
	s.registerAgent(w, r, s.accountOf(x.auth), SecondGeneration)
}

func (s *Server) registerAgent(w http.ResponseWriter, r *http.Request, account Account, g Generation) {
	key, err := parseAgentRegistration(r, g)
	if err != nil {
		writeError(w, http.StatusBadRequest, "invalid_request", err.Error())
		return
	}
	runtimeID := "agent-" + rand.Text()
	s.addAgent(account, runtimeID, key, g)
	s.mu.Lock()
	s.state.stats.AgentRegistrations++
	s.mu.Unlock()
	writeJSON(w, http.StatusOK, map[string]any{"agent_runtime_id": runtimeID})
}

// capabilities are what an agent of the generation says that it can.
func (g Generation) capabilities() []string {
	if g == SecondGeneration {
		return []string{"responsesapi"}
	}
	return []string{}
}

// parseAgentRegistration returns the key that is registered. The body must be the
// one that Codex of the generation sends.
func parseAgentRegistration(r *http.Request, g Generation) (ed25519.PublicKey, error) {
	var req struct {
		ABOM struct {
			AgentVersion    string `json:"agent_version"`
			AgentHarnessID  string `json:"agent_harness_id"`
			RunningLocation string `json:"running_location"`
		} `json:"abom"`
		AgentPublicKey string          `json:"agent_public_key"`
		Capabilities   []string        `json:"capabilities"`
		TTL            json.RawMessage `json:"ttl"`
	}
	body := json.NewDecoder(r.Body)
	body.DisallowUnknownFields()
	if err := body.Decode(&req); err != nil {
		return nil, fmt.Errorf("the body is not a registration: %w", err)
	}
	source, system, _ := strings.Cut(req.ABOM.RunningLocation, "-")
	switch {
	case req.ABOM.AgentVersion == "":
		return nil, errors.New("the abom lacks agent_version")
	case req.ABOM.AgentHarnessID != "codex-cli" && req.ABOM.AgentHarnessID != "codex-app":
		return nil, fmt.Errorf("unknown agent_harness_id %q", req.ABOM.AgentHarnessID)
	case source == "" || system == "":
		return nil, fmt.Errorf("running_location %q is not a source and a system", req.ABOM.RunningLocation)
	case req.Capabilities == nil:
		return nil, errors.New("the registration lacks capabilities")
	case !slices.Equal(req.Capabilities, g.capabilities()):
		return nil, fmt.Errorf("the capabilities are %q, not %q", req.Capabilities, g.capabilities())
	case g == SecondGeneration && string(req.TTL) != "null":
		return nil, fmt.Errorf("the ttl is %q, not null", req.TTL)
	case g == FirstGeneration && req.TTL != nil:
		return nil, errors.New("a ttl where none is asked for")
	}
	return parseOpenSSH(req.AgentPublicKey)
}

// parseOpenSSH reads "ssh-ed25519 <base64>", without a comment.
func parseOpenSSH(s string) (ed25519.PublicKey, error) {
	const name = "ssh-ed25519"
	field := func(b []byte) []byte {
		return append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...)
	}
	text, ok := strings.CutPrefix(s, name+" ")
	blob, err := base64.StdEncoding.Strict().DecodeString(text)
	if !ok || err != nil || len(blob) < ed25519.PublicKeySize {
		return nil, fmt.Errorf("agent_public_key %q is not an OpenSSH Ed25519 key", s)
	}
	key := blob[len(blob)-ed25519.PublicKeySize:]
	if !bytes.Equal(blob, append(field([]byte(name)), field(key)...)) {
		return nil, fmt.Errorf("agent_public_key %q is not an OpenSSH Ed25519 key", s)
	}
	if _, err := x25519PublicKey(key); err != nil {
		return nil, err
	}
	return key, nil
}
