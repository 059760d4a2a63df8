package backend

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/agentproxy/agentproxy/identity/internal/identitytest"
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
		identitytest.Equal(t, in, NormalizeBaseURL(in), want)
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
		identitytest.WantError(t, text, func() error { return err })
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error shows the password: %v", err)
		}
	}
}

func TestRegisterTaskEscapes(t *testing.T) {
	e := EndpointsFor("https://chatgpt.com")
	for id, segment := range map[string]string{
		"a/b?c#d e": "a%2Fb%3Fc%23d%20e", "..": "%2E%2E", ".": "%2E", "a..b": "a..b", "é": "%C3%A9", "%2F": "%252F",
	} {
		identitytest.Equal(t, id, e.RegisterTask(id), "https://chatgpt.com/backend-api/v1/agent/"+segment+"/task/register")
	}
}

func TestABOM(t *testing.T) {
	for _, tt := range []struct {
		goos, want string
	}{
		{"linux", `{"agent_version":"1.2.3","agent_harness_id":"codex-cli","running_location":"cli-linux"}`},
		{"darwin", `{"agent_version":"1.2.3","agent_harness_id":"codex-cli","running_location":"cli-macos"}`},
		{"windows", `{"agent_version":"1.2.3","agent_harness_id":"codex-cli","running_location":"cli-windows"}`},
	} {
		got, err := json.Marshal(NewABOM("1.2.3", tt.goos))
		if err != nil {
			t.Fatal(err)
		}
		identitytest.Equal(t, tt.goos, string(got), tt.want)
	}
}
