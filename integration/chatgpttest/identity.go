package chatgpttest

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
)

// An AgentIdentity is an agent that the server knows, with its private key.
type AgentIdentity struct {
	RuntimeID       string
	PrivateKeyPKCS8 string // standard base64 of PKCS #8, as Codex stores it
	PublicKey       ed25519.PublicKey
	TaskID          string // a task that the server knows

	account Account
}

// RegisterIdentity registers a new agent with a task for the log-in's account,
// without any request over the network. It is of [AnyGeneration] until
// [Server.SetGeneration] or the shape in which it is written down says more.
func (s *Server) RegisterIdentity(l *Login) *AgentIdentity {
	pub, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic("chatgpttest: " + err.Error())
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		panic("chatgpttest: " + err.Error())
	}
	id := &AgentIdentity{
		RuntimeID:       "agent-" + rand.Text(),
		PrivateKeyPKCS8: base64.StdEncoding.EncodeToString(der),
		PublicKey:       pub,
		TaskID:          "task-" + rand.Text(),
		account:         l.Account,
	}
	s.addAgent(l.Account, id.RuntimeID, pub, AnyGeneration, id.TaskID)
	s.mu.Lock()
	defer s.mu.Unlock()
	l.identity = id
	return id
}

// AddAgent makes an agent of the account known under the given runtime id, with
// its public key and tasks, as one of the [FirstGeneration]. An agent of that id
// is replaced.
func (s *Server) AddAgent(a Account, runtimeID string, pub ed25519.PublicKey, tasks ...string) {
	s.addAgent(a, runtimeID, pub, FirstGeneration, tasks...)
}

// SetGeneration makes the agent one of the given generation. It reports whether
// the server knows the agent.
func (s *Server) SetGeneration(runtimeID string, g Generation) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.state.agents[runtimeID]
	if a != nil {
		a.generation = g
	}
	return a != nil
}

func (s *Server) addAgent(a Account, runtimeID string, pub ed25519.PublicKey, g Generation, tasks ...string) {
	ag := &agent{key: pub, account: a.withDefaults(), tasks: make(map[string]bool), generation: g}
	for _, t := range tasks {
		ag.tasks[t] = true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state.agents[runtimeID] = ag
	// An agent's account is a known account, though nobody logged in.
	k := accountKey{ag.account.WorkspaceID, ag.account.UserID}
	if s.state.accounts[k] == nil {
		s.state.accounts[k] = &ag.account
	}
}

// AddTask makes a task of the agent known. It reports whether the server knows
// the agent.
func (s *Server) AddTask(runtimeID, taskID string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.state.agents[runtimeID]
	if a != nil {
		a.tasks[taskID] = true
	}
	return a != nil
}
