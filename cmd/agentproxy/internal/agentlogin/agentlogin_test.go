package agentlogin

import (
	"encoding/base64"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/agentproxy/agentproxy/identity"
)

var (
	account = identity.Account{WorkspaceID: "account-123", UserID: "user-?~>", Email: "zoë😀@example.org", PlanType: "pro"}
	now     = time.Date(2026, 11, 30, 0, 0, 0, 0, time.UTC)
)

func TestFile(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		env  map[string]string
		want string
	}{
		{"pi", map[string]string{"HOME": "/home/me"}, "/home/me/.pi/agent/auth.json"},
		{"pi", map[string]string{"HOME": "/home/me", "PI_CODING_AGENT_DIR": "/pi"}, "/pi/auth.json"},
		{"pi", map[string]string{"HOME": "/home/me", "PI_CODING_AGENT_DIR": "~/pi"}, "/home/me/pi/auth.json"},
		{"pi", map[string]string{"HOME": "/home/me", "PI_CODING_AGENT_DIR": "~you"}, "~you/auth.json"},
		{"pi", nil, ""},
		{"opencode", map[string]string{"HOME": "/home/me"}, "/home/me/.local/share/opencode/auth.json"},
		{"opencode", map[string]string{"HOME": "/home/me", "XDG_DATA_HOME": "/data"}, "/data/opencode/auth.json"},
		{"opencode", nil, ""},
	} {
		agent, ok := Find(test.name)
		if !ok {
			t.Fatalf("there is no agent %s", test.name)
		}
		if got := agent.File(func(name string) string { return test.env[name] }); got != filepath.FromSlash(test.want) {
			t.Errorf("%s with %v: %s, want %s", test.name, test.env, got, test.want)
		}
	}
	if agent, ok := Find("cursor"); ok {
		t.Errorf("cursor is %v", agent)
	}
}

// TestCover replaces the log-in at ChatGPT, and nothing else.
func TestCover(t *testing.T) {
	t.Parallel()
	pi, _ := Find("pi")
	opencode, _ := Find("opencode")
	for name, test := range map[string]struct {
		agent Agent
		file  string
		holds bool
		keeps []string // by key, beside the log-in
		same  bool
		err   bool
	}{
		"no file":          {agent: pi},
		"empty":            {agent: pi, file: "{}"},
		"log-in":           {agent: pi, file: `{"openai-codex":{"type":"oauth","access":"secret-a","refresh":"secret-r","expires":1,"accountId":"x"}}`, holds: true},
		"others":           {agent: pi, file: `{"anthropic":{"type":"api_key","key":"k"},"openai-codex":{"type":"oauth","access":"secret-a","refresh":"secret-r"}}`, holds: true, keeps: []string{"anthropic"}},
		"opencode's":       {agent: opencode, file: `{"openai":{"type":"oauth","access":"secret-a","refresh":"secret-r"},"anthropic":{}}`, holds: true, keeps: []string{"anthropic"}},
		"opencode's key":   {agent: opencode, file: `{"openai":{"type":"api","key":"k"}}`, same: true},
		"refresh alone":    {agent: pi, file: `{"openai-codex":{"type":"oauth","access":"","refresh":"secret-r"}}`, holds: true},
		"no JSON":          {agent: pi, file: `{"openai-codex":{"access":"secret-a"`, err: true},
		"no object":        {agent: pi, file: `["secret-a"]`, err: true},
		"twice":            {agent: pi, file: `{"openai-codex":{"type":"oauth","access":"secret-a"},"openai-codex":{}}`, err: true},
		"of another shape": {agent: pi, file: `{"openai-codex":["secret-a"]}`, holds: true},
	} {
		holds, err := test.agent.HoldsLogin([]byte(test.file))
		if holds != test.holds || (err != nil) != test.err {
			t.Errorf("%s: holds %t, %v", name, holds, err)
		}
		got, err := test.agent.Cover([]byte(test.file), account, now)
		if test.err {
			if err == nil || strings.Contains(err.Error(), "secret") {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if test.same {
			if string(got) != test.file {
				t.Errorf("%s: %s", name, got)
			}
			continue
		}
		if strings.Contains(string(got), "secret") {
			t.Errorf("%s: %s", name, got)
		}
		var file map[string]login
		if err := json.Unmarshal(got, &file); err != nil {
			t.Fatalf("%s: %v: %s", name, err, got)
		}
		if len(file) != 1+len(test.keeps) {
			t.Errorf("%s: %s", name, got)
		}
		l := file[test.agent.provider]
		if !identity.IsPlaceholder(l.Access) || l.Type != "oauth" || l.Refresh != identity.PlaceholderMark || l.AccountID != "account-123" || !time.UnixMilli(l.Expires).After(now.AddDate(9, 0, 0)) {
			t.Errorf("%s: %+v", name, l)
		}
		if holds, err := test.agent.HoldsLogin(got); holds || err != nil {
			t.Errorf("%s: the placeholder is taken for a log-in: %v", name, err)
		}
	}
}

// TestTokenInBothAlphabets has a token that pi reads, which decodes base64url as base64.
func TestTokenInBothAlphabets(t *testing.T) {
	t.Parallel()
	pi, _ := Find("pi")
	file, err := pi.Cover(nil, account, now)
	if err != nil {
		t.Fatal(err)
	}
	var logins map[string]login
	if err := json.Unmarshal(file, &logins); err != nil {
		t.Fatal(err)
	}
	payload := strings.Split(logins["openai-codex"].Access, ".")[1]
	raw, err := base64.RawStdEncoding.DecodeString(payload)
	if err != nil {
		t.Fatal(err)
	}
	var claims struct {
		Email string
		Auth  struct {
			User string `json:"chatgpt_user_id"`
		} `json:"https://api.openai.com/auth"`
	}
	if err := json.Unmarshal(raw, &claims); err != nil || claims.Email != account.Email || claims.Auth.User != account.UserID {
		t.Errorf("%+v, %v", claims, err)
	}
}

func TestIs(t *testing.T) {
	t.Parallel()
	pi, _ := Find("pi")
	for command, want := range map[string]bool{"pi": true, "/usr/bin/pi": true, "pi.cmd": true, "pip": false, "api": false, "codex": false} {
		if pi.Is(command) != want {
			t.Errorf("%s: %t", command, !want)
		}
	}
}
