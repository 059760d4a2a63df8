// Package identitytest holds what the tests of identity and of the packages below it
// share: a log-in, records of agents, and checks.
package identitytest

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// PrivateKey is the key of the records, base64 of PKCS#8.
const PrivateKey = "MC4CAQAwBQYDK2VwBCIEIAcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcH"

// JWT returns a token with these claims and no good signature.
func JWT(claims string) string {
	encode := base64.RawURLEncoding.EncodeToString
	return encode([]byte(`{"alg":"RS256"}`)) + "." + encode([]byte(claims)) + ".c2ln"
}

const (
	// Claims are those of the id token of AuthJSON.
	Claims = `{"email":"ada@example.com","exp":1900000000,"https://api.openai.com/auth":{"chatgpt_user_id":"user-1",` +
		`"user_id":"user-old","chatgpt_account_id":"ws-1","chatgpt_plan_type":"pro","chatgpt_account_is_fedramp":true}}`
	// RecordA and RecordC are records of the shapes A and C.
	RecordA = `{"workspace_id":"ws-1","chatgpt_user_id":"user-1","agent_runtime_id":"agent-1","agent_private_key":"` + PrivateKey +
		`","registered_at":"2026-04-15T00:00:00Z","background_task_id":"task-1"}`
	RecordC = `{"workspace_id":"ws-1","chatgpt_user_id":"user-1","agent_runtime_id":"agent-1","agent_private_key":"` + PrivateKey +
		`","registered_at":"2026-04-15T00:00:00Z","account_id":"ws-1","email":"ada@example.com","plan_type":"pro",` +
		`"chatgpt_account_is_fedramp":true,"task_id":"task-1","unknown":{"kept":[1]}}`
	// AgentClaims are those of a record that is a JWT.
	AgentClaims = `{"iss":"https://chatgpt.com/codex-backend/agent-identity","aud":"codex-app-server","iat":1776211200,"exp":1900000000,` +
		`"agent_runtime_id":"agent-1","agent_private_key":"` + PrivateKey + `","account_id":"ws-1","chatgpt_user_id":"user-1",` +
		`"email":"ada@example.com","plan_type":"pro","chatgpt_account_is_fedramp":true}`
)

// AuthJSON returns an auth.json with these members besides a log-in.
func AuthJSON(members ...string) string {
	return fmt.Sprintf(`{"tokens":{"id_token":%q,"access_token":"access-secret","refresh_token":"refresh-secret","account_id":"ws-1"}%s}`,
		JWT(Claims), strings.Join(append([]string{""}, members...), ","))
}

// NoLeak checks that an error is one short line that does not repeat what looks
// like a secret.
func NoLeak(t testing.TB, err error, input string) {
	if err == nil {
		return
	}
	if strings.ContainsAny(err.Error(), "\r\n") || len(err.Error()) > 400 {
		t.Errorf("error is not one short line: %q", err)
	}
	if len(input) >= 100 && strings.Contains(err.Error(), input) {
		t.Errorf("error repeats its input: %q", err)
	}
}

// ReadVectors decodes a file of testdata/vectors.
func ReadVectors(t testing.TB, name string, into any) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", "vectors", name))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, into); err != nil {
		t.Fatal(err)
	}
}

// Equal checks that got is want.
func Equal[T comparable](t testing.TB, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// WantError checks that f fails with one line that contains text.
func WantError(t testing.TB, text string, f func() error) {
	t.Helper()
	if err := f(); err == nil || !strings.Contains(err.Error(), text) {
		t.Errorf("error is %v, want one with %q", err, text)
	} else if strings.Contains(err.Error(), "\n") {
		t.Errorf("error of several lines: %v", err)
	}
}

// ParseTime parses an RFC 3339 time.
func ParseTime(t testing.TB, s string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339, s)
	if err != nil {
		t.Fatal(err)
	}
	return at
}
