package identity

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

func TestNormalizeBaseURL(t *testing.T) {
	for in, want := range map[string]string{
		"https://ChatGPT.com":                 "https://ChatGPT.com/backend-api",
		"https://chatgpt.com:443":             "https://chatgpt.com:443/backend-api",
		"https://gov.chatgpt.com/backend-api": "https://gov.chatgpt.com/backend-api",
		"http://chatgpt.com":                  "http://chatgpt.com",
		"https://chatgpt.com@evil.example":    "https://chatgpt.com@evil.example",
		"":                                    "",
		"://":                                 ":",
	} {
		equal(t, in, NormalizeBaseURL(in), want)
	}
}

func TestCheckBaseURL(t *testing.T) {
	for _, s := range []string{"https://chatgpt.com/backend-api", "http://127.0.0.1:9/", "http://[::1]:9", "http://localhost/x"} {
		if err := CheckBaseURL(s); err != nil {
			t.Error(err)
		}
	}
	for s, text := range map[string]string{
		"":                          "names no host",
		"chatgpt.com":               "names no host",
		"/backend-api":              "names no host",
		"https://":                  "names no host",
		"ftp://chatgpt.com":         "use https",
		"http://chatgpt.com":        "sends credentials in clear",
		"http://127.0.0.1.example":  "sends credentials in clear",
		"https://u:hunter2@x.com":   "holds a user name",
		"https://chatgpt.com?a=1":   "query",
		"https://chatgpt.com?":      "query",
		"https://chatgpt.com/#":     "fragment",
		"https://u:hunter2@[x.com/": "not a URL",
	} {
		err := CheckBaseURL(s)
		wantError(t, text, func() error { return err })
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error shows the password: %v", err)
		}
	}
}

func TestSupportedHost(t *testing.T) {
	for host, want := range map[string]bool{
		"chatgpt.com": true, "ChatGPT.com": true, "a.b.chatgpt.com": true, "a_b-1.chatgpt-staging.com": true, "chat.openai.com": true,
		"": false, ".chatgpt.com": false, "a..chatgpt.com": false, "chatgpt.com.": false, "chatgpt.com:443": false,
		"a/b.chatgpt.com": false, "evil.example\x00.chatgpt.com": false, "é.chatgpt.com": false, "x.chat.openai.com": false,
		"evilchatgpt.com": false, "com": false,
	} {
		equal(t, host, SupportedHost(host), want)
	}
	for _, u := range []string{"http://chatgpt.com", "https://user@chatgpt.com", "https://chatgpt.com@evil.example", "//chatgpt.com", "https://%"} {
		if Supported(u) {
			t.Errorf("%q is supported", u)
		}
	}
}

func TestRegisterTaskEscapes(t *testing.T) {
	e := EndpointsFor("https://chatgpt.com")
	for id, segment := range map[string]string{
		"a/b?c#d e": "a%2Fb%3Fc%23d%20e", "..": "%2E%2E", ".": "%2E", "a..b": "a..b", "é": "%C3%A9", "%2F": "%252F",
	} {
		equal(t, id, e.RegisterTask(id), "https://chatgpt.com/backend-api/v1/agent/"+segment+"/task/register")
	}
}

func TestABOM(t *testing.T) {
	for _, tt := range []struct {
		source, goos string
		want         string
	}{
		{"cli", "linux", `{"agent_version":"1.2.3","agent_harness_id":"codex-cli","running_location":"cli-linux"}`},
		{"vscode", "darwin", `{"agent_version":"1.2.3","agent_harness_id":"codex-app","running_location":"vscode-macos"}`},
		{"exec", "windows", `{"agent_version":"1.2.3","agent_harness_id":"codex-cli","running_location":"exec-windows"}`},
	} {
		got, err := json.Marshal(NewABOM("1.2.3", tt.source, tt.goos))
		if err != nil {
			t.Fatal(err)
		}
		equal(t, tt.source, string(got), tt.want)
	}
}

func TestIsBootstrapPath(t *testing.T) {
	equal(t, "names", fmt.Sprint(BootstrapNone, BootstrapBiscuit, BootstrapRegistration), "none biscuit registration")
	for _, tt := range []struct {
		kind  BootstrapKind
		paths []string
	}{
		{BootstrapBiscuit, []string{
			"/authenticate_app_v2", "/backend-api/authenticate_app_v2", "/backend-api//authenticate_app_v2/", "authenticate_app_v2",
		}},
		{BootstrapRegistration, []string{
			"/v1/agent/register", "/backend-api/v1/agent/register", "/backend-api/v1/agent/agent-123/task/register",
			"//v1///agent/register//", "/v1/agent/a%2Fb/task/register", "/v1/agent/a/b/task/register", "/v1/agent/%2E%2E/task/register",
			// Disguised.
			"/v1/agent/%72egister", "/v1/agent/%2572egister", "/v1/agent%2fregister", "/v1/agent%5Cregister", `/v1\agent\register`,
			"/V1/Agent/Register", "/v1/agent/./register", "/v1/agent/x/../register", "/v1/agent/x/%2e%2e/register", "/v1/agent/register/.",
			"/v1/agent/register/x/..", "/v1/agent//../register", "/v1/agent/register;a=b", "/v1;x/agent;y/register", "/v1/agent/register%3Fa",
			"/v1/agent/register%23", "/v1/agent/register%20", "/v1/agent/register%00", "/v1/agent/x/task/%72egister", "/v1/agent/x/task/register/%2e",
			"/%61uthenticate_app_v2", "/AUTHENTICATE_APP_V2", "/authenticate_app_v2/.", "/authenticate_app_v2;x", "/x/%2e%2e/authenticate%5fapp_v2",
			"/../../v1/agent/regis%74er",
		}},
		{BootstrapNone, []string{
			"", "/", "*", "/backend-api/codex/responses", "/authenticate_app_v2/x", "/xauthenticate_app_v2", "/authenticate_app_v22",
			"/authenticate_app_v2/..", "/v1/agent/registered", "/v1/agent", "/v1/agents/register", "/v1/agent/register/x", "/v1/agent/register/../x",
			"/v1/agent/a/task", "/task/register", "/agent/x/task/register", "/%", "/%zz", "/..", "/v1/agent/%25zz",
		}},
	} {
		for _, path := range tt.paths {
			if got := IsBootstrapPath(path); got != tt.kind {
				t.Errorf("%s: %v, want %v", path, got, tt.kind)
			}
		}
	}
}
