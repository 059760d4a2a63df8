package chatgpttest

import (
	"crypto/ed25519"
	"crypto/rsa"
	"time"
)

// state is what the server remembers of accounts and their credentials. It is
// guarded by Server.mu.
type state struct {
	accounts map[accountKey]*Account
	access   map[string]*accessToken
	refresh  map[string]*refreshToken
	agents   map[string]*agent
	biscuits map[string]*biscuit
	faults   []*injected
	files    map[string]*file

	devices        []*device // in the order in which they came
	deviceGrants   map[string]deviceGrant
	deviceInterval time.Duration
	noDeviceCodes  bool

	remoteServers map[string]*remoteServer // by id
	remoteTokens  map[string]*remoteToken

	missing  map[Generation]int // the status with which endpoints are not there
	unwanted []string           // credentials where Codex sends none

	inferenceOnly bool // assertions are for codex/responses alone

	lifetime   time.Duration
	tokenAge   time.Duration // of tokens when they are issued
	signingKey *rsa.PrivateKey
	taskAnswer TaskAnswer

	usedPercent [2]int
	usage       func(n int) Usage
	used        []Usage
	reply       string
	stats       Stats
}

func newState(c Config) state {
	return state{
		accounts: make(map[accountKey]*Account),
		access:   make(map[string]*accessToken),
		refresh:  make(map[string]*refreshToken),
		agents:   make(map[string]*agent),
		biscuits: make(map[string]*biscuit),
		files:    make(map[string]*file),
		missing:  make(map[Generation]int),

		deviceGrants:   make(map[string]deviceGrant),
		deviceInterval: deviceInterval,
		usedPercent:    [2]int{12, 34},

		remoteServers: make(map[string]*remoteServer),
		remoteTokens:  make(map[string]*remoteToken),

		lifetime:   c.TokenLifetime,
		signingKey: c.SigningKey,
		reply:      c.Reply,
	}
}

type accountKey struct{ workspace, user string }

type accessToken struct {
	account Account
	expires time.Time // zero: never
}

type agent struct {
	key     ed25519.PublicKey
	account Account
	tasks   map[string]bool
	jwt     bool // came as a JWT: tasks need no biscuit

	generation Generation // guarded by Server.mu
}

// A biscuit vouches for one kind of call of one account.
type biscuit struct {
	account Account
	path    string // what X-Original-Url named
	expires time.Time
}

// Stats counts what the server did since it started.
type Stats struct {
	Biscuits            int // human biscuits issued
	AgentRegistrations  int // agents registered over the network
	TaskRegistrations   int // tasks registered over the network
	Refreshes           int // refresh tokens exchanged
	ReusedRefreshTokens int // refresh tokens refused because they had been used
	DeviceLogins        int // log-ins by device code
	EarlyDevicePolls    int // questions of devices before their interval was over
	Revocations         int // refresh tokens revoked
	JWKS                int // key sets served
	Responses           int // answers of the assistant begun, prewarming excluded
	WebSockets          int // WebSocket upgrades of codex/responses accepted
	Unauthorized        int // requests refused because their credential did not verify
}

// Stats returns the counts so far.
func (s *Server) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state.stats
}

// ForgetTasks makes the server forget all tasks, as it would when they are old.
func (s *Server) ForgetTasks() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range s.state.agents {
		clear(a.tasks)
	}
}

// ForgetAgents makes the server forget all agents and their tasks.
func (s *Server) ForgetAgents() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.state.agents)
}

// ForgetAccessTokens makes the server refuse all access tokens issued so far.
func (s *Server) ForgetAccessTokens() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.state.access)
}

// RevokeRefreshTokens makes the server refuse all refresh tokens issued so far
// with refresh_token_invalidated.
func (s *Server) RevokeRefreshTokens() { s.refuseRefreshTokens("refresh_token_invalidated") }

// ExpireRefreshTokens makes the server refuse all refresh tokens issued so far
// with refresh_token_expired.
func (s *Server) ExpireRefreshTokens() { s.refuseRefreshTokens("refresh_token_expired") }

func (s *Server) refuseRefreshTokens(code string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.state.refresh {
		t.refused = code
	}
}

// SetTokenLifetime changes the lifetime of access tokens issued from now on.
func (s *Server) SetTokenLifetime(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state.lifetime = d
}

// SetReply changes the text of the assistant's answers.
func (s *Server) SetReply(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state.reply = text
}

// SetTokenAge has tokens that are issued from now on be of the given age already,
// so that the time at which clients renew them is near, and the lifetime by which
// they reckon it is a real one.
func (s *Server) SetTokenAge(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state.tokenAge = d
}
