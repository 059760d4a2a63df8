package backend

import (
	"strings"
	"testing"

	"github.com/agentproxy/agentproxy/identity"
	"github.com/agentproxy/agentproxy/identity/internal/identitytest"
)

func FuzzAnswers(f *testing.F) {
	for _, s := range []string{
		"", "{}", "null", "[]", `{"agent_runtime_id":"agent-1"}`, `{"agent_runtime_id":"a\nb"}`, `{"task_id":"task-1"}`, `{"taskId":"a","task_id":"b"}`,
		`{"encrypted_task_id":"AAAA"}`, `{"encryptedTaskId":"!"}`, `{"access_token":"a","id_token":"` + identitytest.JWT(identitytest.Claims) + `","refresh_token":"r"}`,
		`{"access_token":"a b"}`, `{"keys":[{"kty":"RSA","kid":"1","use":"sig","n":"AQAB","e":"AQAB"}]}`, `{"keys":[{"kty":"EC"}]}`, `{"keys":null}`,
		`{"chatgpt_account_id":"account-1","chatgpt_user_id":"user-1","email":null,"chatgpt_account_is_fedramp":true}`, `{"chatgpt_account_id":"a b","chatgpt_user_id":"u"}`,
		`{"error":{"code":"refresh_token_reused"}}`, `{"error":"x"}`, `{"code":"y"}`,
		`{"keys":[{"kty":"RSA","kid":"k","n":"` + strings.Repeat("_", 342) + `","e":"AQAB"}]}`,
	} {
		f.Add([]byte(s))
	}
	key, err := identity.ParseKey(identitytest.PrivateKey)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		account, err := parseWhoami(raw)
		identitytest.NoLeak(t, err, string(raw))
		if err == nil && (account.WorkspaceID == "" || account.UserID == "" || !identity.HeaderSafe(account.WorkspaceID)) {
			t.Errorf("took %+v for an account", account)
		}
		id, err := parseAgentAnswer("register the agent", raw)
		identitytest.NoLeak(t, err, string(raw))
		if err == nil && (id == "" || len(id) > maxID || strings.ContainsAny(id, "\r\n\x00")) {
			t.Errorf("took %q for an id", id)
		}
		id, err = parseTaskAnswer(key, raw)
		identitytest.NoLeak(t, err, string(raw))
		if err == nil && (id == "" || len(id) > maxID || strings.ContainsAny(id, "\r\n\x00")) {
			t.Errorf("took %q for an id", id)
		}
		r, err := parseRefreshAnswer(raw)
		identitytest.NoLeak(t, err, string(raw))
		if err == nil && (r.AccessToken == "" || !identity.HeaderSafe(r.AccessToken.Reveal())) {
			t.Error("took an access token that cannot be sent")
		}
		keys, err := parseKeySet(raw)
		identitytest.NoLeak(t, err, string(raw))
		for _, key := range keys {
			if key.N.BitLen() < minRSABits || key.E < 2 {
				t.Error("took a weak key")
			}
		}
		if code := errorCode(raw); len(code) > 64 || strings.ContainsAny(code, " \r\n") {
			t.Errorf("took %q for a code", code)
		}
	})
}
