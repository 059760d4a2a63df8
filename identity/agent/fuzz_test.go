package agent

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/agentproxy/agentproxy/identity"
	"github.com/agentproxy/agentproxy/identity/codex"
	"github.com/agentproxy/agentproxy/identity/internal/identitytest"
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
		k := newTasks("", time.Now, nil)
		k.loaded, k.runtimeID, k.byLabel = true, file.AgentRuntimeID, file.Tasks
		for label := range file.Tasks {
			if task, _, ok := k.get(file.AgentRuntimeID, label); ok && task.ID == "" {
				t.Error("a task without an id")
			}
		}
		k.put(identity.Task{AgentRuntimeID: "agent", ID: "task"}, "label")
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

func FuzzJournal(f *testing.F) {
	for _, s := range []string{
		"", "{}", "null", `{"spent":["a"],"access_token":"a","refresh_token":"r","last_refresh":"2026-04-15T00:00:00Z"}`,
		`{"access_token":"a","id_token":"` + identitytest.JWT(identitytest.Claims) + `"}`, `{"access_token":"a\n"}`, `{"spent":[null],"access_token":"a"}`,
	} {
		f.Add([]byte(s))
	}
	auth, err := codex.ParseAuth([]byte(identitytest.AuthJSON()))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		j, err := parseJournal("refresh.json", raw)
		identitytest.NoLeak(t, err, string(raw))
		if err != nil {
			return
		}
		if renewed, err := j.apply(auth); err == nil && renewed.Tokens.AccountID != "ws-1" {
			t.Error("the account changed")
		} else {
			identitytest.NoLeak(t, err, string(raw))
		}
		j.replaces(auth)
		n := j.next(identity.Account{WorkspaceID: "ws-1", UserID: "user-1"}, *auth.Tokens, identity.TokenSet{AccessToken: "new", RefreshToken: "next"}, "2026-04-15T00:00:00Z")
		if !n.covers("refresh-secret") || n.covers("next") || len(n.Spent) > maxSpent {
			t.Errorf("after a refresh: %q", n.Spent)
		}
		if n := n.next(identity.Account{}, *auth.Tokens, identity.TokenSet{AccessToken: "new"}, ""); n.covers(auth.Tokens.RefreshToken) {
			t.Error("a token that was not replaced counts as spent")
		}
	})
}
