package codex

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/agentproxy/agentproxy/identity"
	"github.com/agentproxy/agentproxy/identity/internal/identitytest"
	"github.com/agentproxy/agentproxy/internal/strictjson"
)

func FuzzParseAuth(f *testing.F) {
	for _, s := range []string{
		"", "{}", "null", identitytest.AuthJSON(), identitytest.AuthJSON(`"agent_identity":` + identitytest.RecordA), identitytest.AuthJSON(`"agent_identity":` + identitytest.RecordC),
		identitytest.AuthJSON(`"agent_identity":"`+identitytest.JWT(identitytest.AgentClaims)+`"`, `"last_refresh":"2026-04-15T00:00:00Z"`), identitytest.AuthJSON(`"OPENAI_API_KEY":"k"`),
		`{"auth_mode":"agentIdentity"}`, "\xef\xbb\xbf{}", `{"tokens":{"account_id":1e999}}`, `{"a":1,"a":2}`, "{\n\"tokens\":",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		a, err := ParseAuth(raw)
		identitytest.NoLeak(t, err, string(raw))
		if err != nil {
			return
		}
		if !json.Valid(raw) && !strings.HasPrefix(string(raw), "\xef\xbb\xbf") {
			t.Error("not JSON, and taken")
		}
		identitytest.NoLeak(t, a.RecordErr, string(raw))
		acct, err := a.Account("")
		if (err == nil) != (acct.WorkspaceID != "") {
			t.Errorf("account %+v, %v", acct, err)
		}
		if token, _, err := a.Bearer(""); (err == nil) != (token != "") || !identity.HeaderSafe(token.Reveal()) {
			t.Errorf("bearer: %v", err)
		}
		if _, _, err := a.Bearer("another workspace"); err == nil && acct.WorkspaceID != "another workspace" {
			t.Error("the token was given out for another workspace")
		}
		if a.Record != nil && err == nil {
			_, _ = a.Record.Bind(acct)
		}
	})
}

// FuzzEditAuth has an edit keep every member that it does not mean, to the byte
// but for the spaces between.
func FuzzEditAuth(f *testing.F) {
	for _, s := range []string{
		identitytest.AuthJSON(), identitytest.AuthJSON(`"x":{"n":123456789012345678901234567890.10e-5,"s":"<\u2028\ud800é>"}`, `"\ud800":1`, `"agent_identity":`+identitytest.RecordC),
		identitytest.AuthJSON(`"y":[{"a":1,"a":2}]`), "\xef\xbb\xbf" + identitytest.AuthJSON(), `{"tokens":{"access_token":"a","z":-0,"account_id":null},"last_refresh":null}`,
		`{"tokens":{"access_token":"a"},"\u006cast_refresh":"2026-04-15T00:00:00Z"}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		auth, err := ParseAuth(raw)
		if err != nil || auth.Tokens == nil {
			return
		}
		r := identity.TokenSet{IDToken: identity.Secret(identitytest.JWT(identitytest.AgentClaims)), AccessToken: "new-access", RefreshToken: "new-refresh"}
		edited, err := WithTokens(raw, r, "2026-05-01T00:00:00Z")
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
