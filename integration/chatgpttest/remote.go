package chatgpttest

import (
	"crypto/rand"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/coder/websocket"
)

// Remote control: a Codex enrols as a server with the log-in's credential, gets a
// token of its own, and from then on shows that token to be reached over a
// WebSocket and to be paired with a phone.

const (
	remoteTokenLifetime = time.Hour
	pairingLifetime     = 10 * time.Minute
)

// A remoteServer is a Codex that has enrolled.
type remoteServer struct {
	id, environment string
	account         Account
}

// A remoteToken is what an enrolled Codex shows.
type remoteToken struct {
	server  *remoteServer
	expires time.Time
}

// serveRemoteEnroll answers POST wham/remote/control/server/enroll.
func (s *Server) serveRemoteEnroll(w http.ResponseWriter, r *http.Request, x *exchange) {
	var req struct {
		Name           string `json:"name"`
		InstallationID string `json:"installation_id"`
	}
	if err := json.NewDecoder(r.Body).Decode(&req); err != nil || req.Name == "" || req.InstallationID == "" {
		writeError(w, http.StatusBadRequest, "invalid_request", "the body does not name a server and its installation")
		return
	}
	server := &remoteServer{id: "srv_e_" + rand.Text(), environment: "env_" + rand.Text(), account: s.accountOf(x.auth)}
	s.mu.Lock()
	s.state.remoteServers[server.id] = server
	s.mu.Unlock()
	s.answerRemote(w, x, server)
}

// serveRemoteRefresh answers POST wham/remote/control/server/refresh.
func (s *Server) serveRemoteRefresh(w http.ResponseWriter, r *http.Request, x *exchange) {
	var req struct {
		ServerID string `json:"server_id"`
	}
	if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
		writeError(w, http.StatusBadRequest, "invalid_request", "the body is not JSON: "+err.Error())
		return
	}
	s.mu.Lock()
	server := s.state.remoteServers[req.ServerID]
	s.mu.Unlock()
	if server == nil || server.account.WorkspaceID != x.auth.WorkspaceID || server.account.UserID != x.auth.UserID {
		writeError(w, http.StatusNotFound, "unknown_server", "no such server has enrolled")
		return
	}
	s.answerRemote(w, x, server)
}

// answerRemote issues a token for server.
func (s *Server) answerRemote(w http.ResponseWriter, x *exchange, server *remoteServer) {
	token := "rc-" + rand.Text()
	expires := x.now.Add(remoteTokenLifetime)
	s.mu.Lock()
	s.state.remoteTokens[token] = &remoteToken{server, expires}
	s.mu.Unlock()
	writeJSON(w, http.StatusOK, map[string]any{
		"server_id": server.id, "environment_id": server.environment,
		"remote_control_token": token, "expires_at": expires.UTC().Format(time.RFC3339),
	})
}

// verifyRemote returns the server whose token the request shows. It has answered
// if it returns nil. Codex never shows its log-in here.
func (s *Server) verifyRemote(w http.ResponseWriter, r *http.Request, x *exchange) *remoteServer {
	values := r.Header.Values("Authorization")
	res := AuthResult{Scheme: SchemeRemoteControl}
	if len(values) != 1 {
		s.refuse(w, x, res, &refusal{http.StatusUnauthorized, "invalid_authorization", "not one Authorization header"})
		return nil
	}
	scheme, credential, _ := strings.Cut(values[0], " ")
	s.mu.Lock()
	token := s.state.remoteTokens[credential]
	ofLogin := s.state.access[credential] != nil || scheme == SchemeAgentAssertion
	s.mu.Unlock()
	if ofLogin {
		s.unwanted(r, "the log-in's credential where Codex shows its remote control's token")
	}
	if scheme != SchemeBearer || token == nil || !x.now.Before(token.expires) {
		s.refuse(w, x, res, &refusal{http.StatusUnauthorized, "invalid_remote_control_token", "not a token of remote control that is valid"})
		return nil
	}
	res.OK, res.WorkspaceID, res.UserID = true, token.server.account.WorkspaceID, token.server.account.UserID
	x.setAuth(res)
	return token.server
}

// serveRemoteWebSocket answers GET wham/remote/control/server. It asks the server
// whether it is there, in the name of a client that it does not know, and records
// what it says.
func (s *Server) serveRemoteWebSocket(w http.ResponseWriter, r *http.Request, x *exchange) {
	server := s.verifyRemote(w, r, x)
	if server == nil {
		return
	}
	if id := r.Header.Get("X-Codex-Server-Id"); id != server.id {
		writeError(w, http.StatusNotFound, "unknown_server", "the token is of another server than "+id)
		return
	}
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
	if err != nil {
		return // Accept has answered
	}
	defer conn.CloseNow()
	conn.SetReadLimit(maxMessage)
	ping := encodeJSON(map[string]any{"type": "ping", "client_id": "client-" + rand.Text(), "stream_id": "stream-" + rand.Text()})
	if conn.Write(r.Context(), websocket.MessageText, ping) != nil {
		return
	}
	for {
		_, msg, err := conn.Read(r.Context())
		if err != nil {
			return
		}
		x.rec.message(msg)
	}
}

// serveRemotePair answers POST wham/remote/control/server/pair.
func (s *Server) serveRemotePair(w http.ResponseWriter, r *http.Request, x *exchange) {
	server := s.verifyRemote(w, r, x)
	if server == nil {
		return
	}
	var req struct {
		ManualCode bool `json:"manual_code"`
	}
	if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
		writeError(w, http.StatusBadRequest, "invalid_request", "the body is not JSON: "+err.Error())
		return
	}
	answer := map[string]any{
		"pairing_code": "pair-" + rand.Text(), "manual_pairing_code": nil,
		"server_id": server.id, "environment_id": server.environment,
		"expires_at": x.now.Add(pairingLifetime).UTC().Format(time.RFC3339),
	}
	if req.ManualCode {
		answer["manual_pairing_code"] = ManualPairingCode
	}
	writeJSON(w, http.StatusOK, answer)
}

// ManualPairingCode is what a person types to pair with a server.
const ManualPairingCode = "ABCD-EFGH"

// serveRemotePairStatus answers POST wham/remote/control/server/pair/status: no
// phone has claimed the code.
func (s *Server) serveRemotePairStatus(w http.ResponseWriter, r *http.Request, x *exchange) {
	if s.verifyRemote(w, r, x) != nil {
		drain(r)
		writeJSON(w, http.StatusOK, map[string]any{"claimed": false})
	}
}
