package identity

import (
	"testing"
)

func TestIsBootstrapPath(t *testing.T) {
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

func BenchmarkIsBootstrapPath(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		IsBootstrapPath("/backend-api/codex/responses")
	}
}
