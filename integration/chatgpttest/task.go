package chatgpttest

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
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

// serveRegisterTask answers POST v1/agent/{agent}/task/register of the backend.
// An agent that was registered there needs a biscuit; for others their signature
// is enough.
func (s *Server) serveRegisterTask(w http.ResponseWriter, r *http.Request, x *exchange) {
	a, runtimeID, signed := s.agentOf(x)
	var account *Account
	if !signed || len(r.Header.Values("X-OpenAI-Authorization")) > 0 {
		if account = s.verifyBiscuit(w, r, x); account == nil {
			return
		}
	}
	s.registerTask(w, r, x, a, runtimeID, account, signed)
}

// serveRegisterAccountsTask answers POST api/accounts/v1/agent/{agent}/task/register
// of auth.openai.com. The agent's signature is all that it takes.
func (s *Server) serveRegisterAccountsTask(w http.ResponseWriter, r *http.Request, x *exchange) {
	s.checkUnwanted(r, authNone)
	a, runtimeID, _ := s.agentOf(x)
	s.registerTask(w, r, x, a, runtimeID, nil, true)
}

// agentOf returns the agent that the path names, nil if it is not known, and
// whether it gets tasks without a biscuit.
func (s *Server) agentOf(x *exchange) (a *agent, runtimeID string, signed bool) {
	runtimeID, err := url.PathUnescape(x.param)
	if err != nil {
		return nil, x.param, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	a = s.state.agents[runtimeID]
	return a, runtimeID, a != nil && (a.jwt || a.generation == SecondGeneration)
}

// registerTask registers a task of a. The account is the biscuit's, nil without one.
func (s *Server) registerTask(w http.ResponseWriter, r *http.Request, x *exchange, a *agent, runtimeID string, account *Account, signed bool) {
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
	s.mu.Lock()
	form := s.state.taskAnswer
	s.mu.Unlock()
	taskID := "task-" + rand.Text()
	body, err := taskAnswer(form, taskID, a.key, signed, x)
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
