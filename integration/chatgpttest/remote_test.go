package chatgpttest

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// TestRemoteControl enrols, connects, pairs and refreshes as Codex does.
func TestRemoteControl(t *testing.T) {
	s := newTestServer(t, Config{})
	bearer := []string{"Authorization", "Bearer " + s.Login(Account{}).AccessToken}
	const base = backend + "/wham/remote/control/server"
	var server struct {
		ID    string `json:"server_id"`
		Env   string `json:"environment_id"`
		Token string `json:"remote_control_token"`
	}
	resp := do(t, s, "POST", base+"/enroll", []byte(`{"name":"vm","os":"linux","arch":"x86_64","app_server_version":"1","installation_id":"i"}`), bearer...)
	if err := json.Unmarshal(resp.body, &server); err != nil || server.Token == "" {
		t.Fatalf("enrol: %d %s", resp.StatusCode, resp.body)
	}
	own := []string{"Authorization", "Bearer " + server.Token}

	conn := dial(t, s, base, append(own, "X-Codex-Server-Id", server.ID))
	if _, msg, err := conn.Read(t.Context()); err != nil || !strings.Contains(string(msg), `"type":"ping"`) {
		t.Fatalf("over the WebSocket: %s, %v", msg, err)
	}
	if err := conn.Write(t.Context(), websocket.MessageText, []byte(`{"type":"pong"}`)); err != nil {
		t.Fatal(err)
	}
	conn.Close(websocket.StatusNormalClosure, "")
	var recorded Request
	for !recorded.Done {
		recorded = lastRequest(t, s)
		time.Sleep(time.Millisecond)
	}
	if len(recorded.Messages) != 1 || recorded.Auth.Scheme != SchemeRemoteControl || !recorded.Auth.OK {
		t.Errorf("recorded %q, %+v", recorded.Messages, recorded.Auth)
	}

	pair := func(header ...string) answer {
		return do(t, s, "POST", base+"/pair", []byte(`{"manual_code":true}`), header...)
	}
	if resp := pair(own...); resp.StatusCode != 200 || !strings.Contains(string(resp.body), ManualPairingCode) || !strings.Contains(string(resp.body), server.ID) {
		t.Errorf("pair: %d %s", resp.StatusCode, resp.body)
	}
	if resp := do(t, s, "POST", base+"/pair/status", []byte(`{"pairing_code":"x"}`), own...); string(resp.body) != `{"claimed":false}`+"\n" {
		t.Errorf("pair/status: %d %s", resp.StatusCode, resp.body)
	}

	refresh := func(id string, header ...string) answer {
		return do(t, s, "POST", base+"/refresh", []byte(`{"server_id":"`+id+`","installation_id":"i"}`), header...)
	}
	if resp := refresh(server.ID, bearer...); resp.StatusCode != 200 || !strings.Contains(string(resp.body), server.Env) {
		t.Errorf("refresh: %d %s", resp.StatusCode, resp.body)
	}
	if resp := refresh("srv_e_x", bearer...); resp.StatusCode != 404 {
		t.Errorf("refresh of an unknown server: %d", resp.StatusCode)
	}
	other := []string{"Authorization", "Bearer " + s.Login(Account{WorkspaceID: "other"}).AccessToken}
	if resp := refresh(server.ID, other...); resp.StatusCode != 404 {
		t.Errorf("refresh of another account's server: %d", resp.StatusCode)
	}

	if got := s.Unwanted(); len(got) != 0 {
		t.Errorf("unwanted: %q", got)
	}
	key := addTestAgent(t, s, Account{}, "a", "t")
	for i, header := range [][]string{bearer, {"Authorization", assertion(key, "a", "t", time.Now())}, append(own, "ChatGPT-Account-ID", "account-123")} {
		want := map[bool]int{true: 401, false: 200}[i < 2]
		if resp := pair(header...); resp.StatusCode != want || len(s.Unwanted()) != i+1 {
			t.Errorf("pair with %.20q: %d, %q", header[1], resp.StatusCode, s.Unwanted())
		}
	}
	s.SetClockOffset(2 * remoteTokenLifetime)
	if resp := pair(own...); resp.StatusCode != 401 {
		t.Errorf("an old token: %d", resp.StatusCode)
	}
}
