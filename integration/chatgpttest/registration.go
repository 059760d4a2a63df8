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
	"net/url"
	"strings"
	"time"
)

// A TaskAnswer is a form in which the server answers a task registration.
type TaskAnswer int

const (
	TaskAnswerAuto        TaskAnswer = iota // task_id where no biscuit is asked for, else encrypted_task_id
	TaskAnswerSealed                        // {"encrypted_task_id"}
	TaskAnswerSealedCamel                   // {"encryptedTaskId"}
	TaskAnswerPlain                         // {"task_id"}
	TaskAnswerPlainCamel                    // {"taskId"}
)

// SetTaskAnswer chooses the form of the answers to task registrations.
func (s *Server) SetTaskAnswer(f TaskAnswer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state.taskAnswer = f
}

// biscuitLifetime is how long a human biscuit vouches for its call.
const biscuitLifetime = 5 * time.Minute

// serveBiscuit answers GET authenticate_app_v2. The biscuit is for the call that
// the X-Original headers name, and for that only.
func (s *Server) serveBiscuit(w http.ResponseWriter, r *http.Request, x *exchange) {
	path, err := checkBiscuitRequest(r.Header)
	if err != nil {
		writeError(w, http.StatusBadRequest, "invalid_request", err.Error())
		return
	}
	value := "biscuit-" + rand.Text()
	account := s.accountOf(x.auth)
	s.mu.Lock()
	s.state.biscuits[value] = &biscuit{account: account, path: path, expires: x.now.Add(biscuitLifetime)}
	s.state.stats.Biscuits++
	s.mu.Unlock()
	w.Header().Set("X-OpenAI-Authorization", value)
	w.WriteHeader(http.StatusOK)
}

func checkBiscuitRequest(h http.Header) (path string, _ error) {
	const prefix = "codex-agent-identity-"
	id, ok := strings.CutPrefix(h.Get("X-Request-Id"), prefix)
	random, err := base64.RawURLEncoding.Strict().DecodeString(id)
	if !ok || err != nil || len(random) != 16 {
		return "", fmt.Errorf("the X-Request-Id %q is not %s and base64url of 16 bytes", h.Get("X-Request-Id"), prefix)
	}
	if m := h.Get("X-Original-Method"); m != http.MethodPost {
		return "", fmt.Errorf("the X-Original-Method is %q, not POST", m)
	}
	u, err := url.Parse(h.Get("X-Original-Url"))
	if err != nil || u.Host == "" {
		return "", fmt.Errorf("the X-Original-Url %q is not an absolute URL", h.Get("X-Original-Url"))
	}
	p := strings.TrimPrefix(strings.TrimPrefix(u.EscapedPath(), backendPrefix), accountsPrefix)
	if p != "/v1/agent/register" && !(strings.HasPrefix(p, "/v1/agent/") && strings.HasSuffix(p, "/task/register")) {
		return "", fmt.Errorf("the X-Original-Url %q is not a registration", u)
	}
	return u.EscapedPath(), nil
}

// checkBiscuit returns the account that the request's biscuit vouches for.
func (s *Server) checkBiscuit(r *http.Request, now time.Time) (*Account, error) {
	values := r.Header.Values("X-OpenAI-Authorization")
	if len(values) != 1 {
		return nil, fmt.Errorf("%d X-OpenAI-Authorization headers", len(values))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.state.biscuits[values[0]]
	switch {
	case b == nil:
		return nil, errors.New("the biscuit is not known")
	case !now.Before(b.expires):
		return nil, errors.New("the biscuit has expired")
	case b.path != rawPath(r):
		return nil, fmt.Errorf("the biscuit is for %s, not for %s", b.path, rawPath(r))
	}
	return &b.account, nil
}

// verifyBiscuit records what checkBiscuit found. It has answered if it returns nil.
func (s *Server) verifyBiscuit(w http.ResponseWriter, r *http.Request, x *exchange) *Account {
	account, err := s.checkBiscuit(r, x.now)
	if err != nil {
		s.refuse(w, x, AuthResult{Scheme: SchemeBiscuit}, &refusal{http.StatusUnauthorized, "invalid_biscuit", err.Error()})
		return nil
	}
	x.setAuth(AuthResult{Scheme: SchemeBiscuit, OK: true, WorkspaceID: account.WorkspaceID, UserID: account.UserID})
	return account
}

// isAccountsAPI reports whether r is for auth.openai.com's form of registration.
func isAccountsAPI(r *http.Request) bool {
	return strings.HasPrefix(rawPath(r), accountsPrefix+"/")
}

// serveRegisterAgent answers POST v1/agent/register.
func (s *Server) serveRegisterAgent(w http.ResponseWriter, r *http.Request, x *exchange) {
	var account *Account
	if isAccountsAPI(r) && x.auth.OK {
		a := s.accountOf(x.auth) // an access token does instead of a biscuit there
		account = &a
	} else if account = s.verifyBiscuit(w, r, x); account == nil {
		return
	}
	key, err := parseAgentRegistration(r)
	if err != nil {
		writeError(w, http.StatusBadRequest, "invalid_request", err.Error())
		return
	}
	runtimeID := "agent-" + rand.Text()
	s.AddAgent(*account, runtimeID, key)
	s.mu.Lock()
	s.state.stats.AgentRegistrations++
	s.mu.Unlock()
	writeJSON(w, http.StatusOK, map[string]any{"agent_runtime_id": runtimeID})
}

func parseAgentRegistration(r *http.Request) (ed25519.PublicKey, error) {
	var req struct {
		ABOM struct {
			AgentVersion    string `json:"agent_version"`
			AgentHarnessID  string `json:"agent_harness_id"`
			RunningLocation string `json:"running_location"`
		} `json:"abom"`
		AgentPublicKey string    `json:"agent_public_key"`
		Capabilities   *[]string `json:"capabilities"`
	}
	if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
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

// serveRegisterTask answers POST v1/agent/{agent}/task/register.
func (s *Server) serveRegisterTask(w http.ResponseWriter, r *http.Request, x *exchange) {
	runtimeID, err := url.PathUnescape(x.param)
	if err != nil {
		writeError(w, http.StatusBadRequest, "invalid_request", "the path is ill-formed")
		return
	}
	s.mu.Lock()
	a := s.state.agents[runtimeID]
	// auth.openai.com has no biscuits: the signature is enough.
	signed := a != nil && a.jwt || isAccountsAPI(r)
	answer := s.state.taskAnswer
	s.mu.Unlock()

	var account *Account
	if !signed || len(r.Header.Values("X-OpenAI-Authorization")) > 0 {
		if account = s.verifyBiscuit(w, r, x); account == nil {
			return
		}
	}
	if a == nil {
		writeError(w, http.StatusNotFound, "unknown_agent", fmt.Sprintf("no agent %q is registered", runtimeID))
		return
	}
	if account != nil && (account.WorkspaceID != a.account.WorkspaceID || account.UserID != a.account.UserID) {
		s.refuse(w, x, AuthResult{Scheme: SchemeBiscuit}, &refusal{http.StatusForbidden, "wrong_account", "the agent is another account's"})
		return
	}
	if err := verifyTaskRegistration(r, runtimeID, a.key, x.now); err != nil {
		scheme := SchemeSignature
		if account != nil {
			scheme = SchemeBiscuit
		}
		s.refuse(w, x, AuthResult{Scheme: scheme, AgentRuntimeID: runtimeID}, &refusal{http.StatusUnauthorized, "invalid_signature", err.Error()})
		return
	}
	if account == nil {
		x.setAuth(AuthResult{Scheme: SchemeSignature, OK: true, AgentRuntimeID: runtimeID, WorkspaceID: a.account.WorkspaceID, UserID: a.account.UserID})
	}
	taskID := "task-" + rand.Text()
	body, err := taskAnswer(answer, taskID, a.key, signed, x)
	if err != nil {
		writeError(w, http.StatusInternalServerError, "internal_error", err.Error())
		return
	}
	s.mu.Lock()
	a.tasks[taskID] = true
	s.state.stats.TaskRegistrations++
	s.mu.Unlock()
	writeJSON(w, http.StatusOK, body)
}

func verifyTaskRegistration(r *http.Request, runtimeID string, key ed25519.PublicKey, now time.Time) error {
	var req struct {
		Signature string `json:"signature"`
		Timestamp string `json:"timestamp"`
	}
	if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
		return fmt.Errorf("the body is not a task registration: %w", err)
	}
	sig, err := parseSignature(req.Signature)
	if err != nil {
		return err
	}
	if !ed25519.Verify(key, []byte(runtimeID+":"+req.Timestamp), sig) {
		return fmt.Errorf("the signature is not by the key of agent %q", runtimeID)
	}
	return checkTimestamp(req.Timestamp, now)
}

func taskAnswer(form TaskAnswer, taskID string, key ed25519.PublicKey, signed bool, x *exchange) (map[string]any, error) {
	if form == TaskAnswerAuto {
		form = TaskAnswerSealed
		if signed {
			form = TaskAnswerPlain
		}
	}
	if x.fault.BadSealedTask {
		// Sealed for somebody else: well-formed, and not to be opened.
		other, _, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return nil, err
		}
		key = other
		if form == TaskAnswerPlain || form == TaskAnswerPlainCamel {
			form = TaskAnswerSealed
		}
	}
	switch form {
	case TaskAnswerPlain:
		return map[string]any{"task_id": taskID}, nil
	case TaskAnswerPlainCamel:
		return map[string]any{"taskId": taskID}, nil
	}
	sealed, err := sealTask(taskID, key)
	if form == TaskAnswerSealedCamel {
		return map[string]any{"encryptedTaskId": sealed}, err
	}
	return map[string]any{"encrypted_task_id": sealed}, err
}
