package identity

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/agentproxy/agentproxy/internal/strictjson"
)

func FuzzParseTaskFile(f *testing.F) {
	for _, s := range []string{
		"", "{}", "null", "[]", `{"agent_runtime_id":"a","tasks":{"":{"task_id":"t","registered_at":"2026-04-15T00:00:00Z","used_at":"2026-04-15T00:00:00Z"}}}`,
		`{"tasks":{"x":null,"y":{}}}`, `{"tasks":{"x":{"task_id":"t","registered_at":"9999-12-31T23:59:59Z"}}}`, `{"agent_runtime_id":1}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		file, err := parseTaskFile(raw)
		if err != nil {
			return
		}
		k := newTasks("", time.Now)
		k.loaded, k.runtimeID, k.byLabel = true, file.AgentRuntimeID, file.Tasks
		for label := range file.Tasks {
			if task, _, ok := k.get(file.AgentRuntimeID, label); ok && task.ID == "" {
				t.Error("a task without an id")
			}
		}
		k.put(Task{"agent", "task"}, "label")
		if _, _, ok := k.get("agent", "label"); !ok {
			t.Error("what was put is not there")
		}
		again, err := json.Marshal(taskFile{k.runtimeID, k.byLabel, k.refusals})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parseTaskFile(again); err != nil {
			t.Errorf("cannot read what it wrote: %v", err)
		}
	})
}

func FuzzAnswers(f *testing.F) {
	for _, s := range []string{
		"", "{}", "null", "[]", `{"agent_runtime_id":"agent-1"}`, `{"agent_runtime_id":"a\nb"}`, `{"task_id":"task-1"}`, `{"taskId":"a","task_id":"b"}`,
		`{"encrypted_task_id":"AAAA"}`, `{"encryptedTaskId":"!"}`, `{"access_token":"a","id_token":"` + testJWT(testClaims) + `","refresh_token":"r"}`,
		`{"access_token":"a b"}`, `{"keys":[{"kty":"RSA","kid":"1","use":"sig","n":"AQAB","e":"AQAB"}]}`, `{"keys":[{"kty":"EC"}]}`, `{"keys":null}`,
		`{"chatgpt_account_id":"account-1","chatgpt_user_id":"user-1","email":null,"chatgpt_account_is_fedramp":true}`, `{"chatgpt_account_id":"a b","chatgpt_user_id":"u"}`,
		`{"error":{"code":"refresh_token_reused"}}`, `{"error":"x"}`, `{"code":"y"}`,
		`{"keys":[{"kty":"RSA","kid":"k","n":"` + strings.Repeat("_", 342) + `","e":"AQAB"}]}`,
	} {
		f.Add([]byte(s))
	}
	key := mustKey(f)
	f.Fuzz(func(t *testing.T, raw []byte) {
		account, err := parseWhoami(raw)
		noLeak(t, err, string(raw))
		if err == nil && (account.WorkspaceID == "" || account.UserID == "" || !headerSafe(account.WorkspaceID)) {
			t.Errorf("took %+v for an account", account)
		}
		id, err := parseAgentAnswer("register the agent", raw)
		noLeak(t, err, string(raw))
		if err == nil && (id == "" || len(id) > maxID || strings.ContainsAny(id, "\r\n\x00")) {
			t.Errorf("took %q for an id", id)
		}
		id, err = parseTaskAnswer(key, raw)
		noLeak(t, err, string(raw))
		if err == nil && (id == "" || len(id) > maxID || strings.ContainsAny(id, "\r\n\x00")) {
			t.Errorf("took %q for an id", id)
		}
		r, err := parseRefreshAnswer(raw)
		noLeak(t, err, string(raw))
		if err == nil && (r.AccessToken == "" || !headerSafe(r.AccessToken.Reveal())) {
			t.Error("took an access token that cannot be sent")
		}
		keys, err := parseKeySet(raw)
		noLeak(t, err, string(raw))
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

func FuzzJournal(f *testing.F) {
	for _, s := range []string{
		"", "{}", "null", `{"spent":["a"],"access_token":"a","refresh_token":"r","last_refresh":"2026-04-15T00:00:00Z"}`,
		`{"access_token":"a","id_token":"` + testJWT(testClaims) + `"}`, `{"access_token":"a\n"}`, `{"spent":[null],"access_token":"a"}`,
	} {
		f.Add([]byte(s))
	}
	auth := mustAuth(f, authJSON())
	f.Fuzz(func(t *testing.T, raw []byte) {
		j, err := parseJournal("refresh.json", raw)
		noLeak(t, err, string(raw))
		if err != nil {
			return
		}
		if renewed, err := j.apply(auth); err == nil && renewed.Tokens.AccountID != "ws-1" {
			t.Error("the account changed")
		} else {
			noLeak(t, err, string(raw))
		}
		j.replaces(auth)
		n := j.next(Account{WorkspaceID: "ws-1", UserID: "user-1"}, *auth.Tokens, refreshed{AccessToken: "new", RefreshToken: "next"}, "2026-04-15T00:00:00Z")
		if !n.covers("refresh-secret") || n.covers("next") || len(n.Spent) > maxSpent {
			t.Errorf("after a refresh: %q", n.Spent)
		}
		if n := n.next(Account{}, *auth.Tokens, refreshed{AccessToken: "new"}, ""); n.covers(auth.Tokens.RefreshToken) {
			t.Error("a token that was not replaced counts as spent")
		}
	})
}

// FuzzEditAuth has an edit keep every member that it does not mean, to the byte
// but for the spaces between.
func FuzzEditAuth(f *testing.F) {
	for _, s := range []string{
		authJSON(), authJSON(`"x":{"n":123456789012345678901234567890.10e-5,"s":"<\u2028\ud800é>"}`, `"\ud800":1`, `"agent_identity":`+shapeC),
		authJSON(`"y":[{"a":1,"a":2}]`), "\xef\xbb\xbf" + authJSON(), `{"tokens":{"access_token":"a","z":-0,"account_id":null},"last_refresh":null}`,
		`{"tokens":{"access_token":"a"},"\u006cast_refresh":"2026-04-15T00:00:00Z"}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		auth, err := ParseAuth(raw)
		if err != nil || auth.Tokens == nil {
			return
		}
		r := refreshed{IDToken: Secret(testJWT(jwtClaims)), AccessToken: "new-access", RefreshToken: "new-refresh"}
		edited, err := withTokens(raw, r, "2026-05-01T00:00:00Z")
		if err != nil {
			t.Fatal(err)
		}
		if len(edited) > maxAuthBytes {
			return
		}
		after, err := ParseAuth(edited)
		if err != nil {
			t.Fatalf("broken: %v", err)
		}
		if after.Tokens.AccessToken != "new-access" || after.Tokens.RefreshToken != "new-refresh" || after.LastRefresh.IsZero() ||
			after.Tokens.AccountID != auth.Tokens.AccountID || after.Mode != auth.Mode || after.HasAPIKey != auth.HasAPIKey {
			t.Errorf("edited to %+v", after)
		}
		old, err := strictjson.ParseEdit(bytes.TrimPrefix(raw, []byte("\xef\xbb\xbf")))
		if err != nil {
			t.Fatal(err)
		}
		now, err := strictjson.ParseEdit(edited)
		if err != nil {
			t.Fatal(err)
		}
		kept(t, old, now, "tokens", "last_refresh")
		oldTokens, _ := strictjson.ParseEdit(old.Get("tokens"))
		newTokens, _ := strictjson.ParseEdit(now.Get("tokens"))
		kept(t, oldTokens, newTokens, "id_token", "access_token", "refresh_token")
	})
}

// kept checks that members kept their order, name and value, those called except.
func kept(t *testing.T, old, now strictjson.Edit, except ...string) {
	t.Helper()
	if len(now) < len(old) || len(now) > len(old)+len(except) {
		t.Fatalf("%d members became %d", len(old), len(now))
	}
	for i, m := range old {
		if !bytes.Equal(now[i].RawName, m.RawName) {
			t.Errorf("member %s became %s", m.RawName, now[i].RawName)
		}
		if strings.Contains("\x00"+strings.Join(except, "\x00")+"\x00", "\x00"+m.Name+"\x00") {
			continue
		}
		var a, b bytes.Buffer
		if json.Compact(&a, m.Value) != nil || json.Compact(&b, now[i].Value) != nil || !bytes.Equal(a.Bytes(), b.Bytes()) {
			t.Errorf("member %s: %s became %s", m.RawName, m.Value, now[i].Value)
		}
	}
}
