package signer

import "testing"

func mustRule(t testing.TB, host, glob, name string) Rule {
	t.Helper()
	rule, err := NewRule(host, glob, named(name))
	if err != nil {
		t.Fatal(err)
	}
	return rule
}

func TestRules(t *testing.T) {
	t.Parallel()
	s := Rules{
		Rules: []Rule{
			mustRule(t, "chatgpt.com", "/backend-api/wham/**", "wham"),
			mustRule(t, "", "/backend-api/wham/tasks", "never: the first match wins"),
			mustRule(t, "*.chatgpt.com", "", "below"),
			mustRule(t, "AB.Chatgpt.com", "", "never: the first match wins"),
			mustRule(t, "", "**/models", "models"),
			mustRule(t, "", "/v?/*/files", "files"),
		},
		Default: named("default"),
	}
	for _, test := range []struct{ host, path, want string }{
		{"chatgpt.com", "/backend-api/wham/tasks", "wham"},
		{"chatgpt.com", "/backend-api/wham/tasks/1/turns", "wham"},
		{"chatgpt.com", "/backend-api/wham/", "default"},
		{"chatgpt.com", "/backend-api/whammy/x", "default"},
		{"chatgpt.com", "/x/backend-api/wham/tasks", "default"},
		{"ab.chatgpt.com", "/anything", "below"},
		{"a.b.chatgpt.com", "", "below"},
		{".chatgpt.com", "/", "default"},
		{"evilchatgpt.com", "/", "default"},
		{"chatgpt.com.evil", "/", "default"},
		{"chat.openai.com", "/backend-api/codex/models", "models"},
		{"chat.openai.com", "/models", "models"},
		{"chat.openai.com", "/models/x", "default"},
		{"chat.openai.com", "/v1/abc/files", "files"},
		{"chat.openai.com", "/v12/abc/files", "default"},
		{"chat.openai.com", "/v1/a/b/files", "default"},
		{"chat.openai.com", "/v/abc/files", "default"},

		// Other spellings of a path do not get round its rule.
		{"chatgpt.com", "/backend-api/wh%61m/tasks", "wham"},
		{"chatgpt.com", "/backend-api/wh%61m/%zz/100%", "wham"},
		{"chatgpt.com", "/backend-api%2Fwham%2ftasks", "wham"},
		{"chatgpt.com", "//backend-api///wham//tasks/", "wham"},
		{"chatgpt.com", "/backend-api/./wham/./tasks", "wham"},
		{"chatgpt.com", "/x/../backend-api/wham/tasks", "wham"},
		{"chatgpt.com", "/%2e%2E/backend-api/%2e/wham/tasks", "wham"},
		{"chatgpt.com", "backend-api/wham/tasks", "wham"},
		{"chatgpt.com", "/backend-api/wham/../other/x", "default"},
		{"chatgpt.com", "/backend-api/wham/a%0Ab", "wham"},
	} {
		auth := mustSign(t, s, Request{Host: test.host, Path: test.path})
		if got := auth.Value.Reveal(); got != test.want {
			t.Errorf("%s%s: %s, want %s", test.host, test.path, got, test.want)
		}
	}
}

// A pattern is brought into the form that paths are compared in.
// TestRuleAgainstBiscuits has the rule that SECURITY.md names keep the log-in's
// token from whatever a server may take for the request for a biscuit.
func TestRuleAgainstBiscuits(t *testing.T) {
	t.Parallel()
	rule, err := NewRule("", "**/authenticate_app_v2", None{})
	if err != nil {
		t.Fatal(err)
	}
	s := Rules{Rules: []Rule{rule}, Default: Bootstrap{Bearer: named("bearer"), Next: named("next")}}
	for _, path := range []string{
		"/authenticate_app_v2", "/backend-api/authenticate_app_v2", "/backend-api//authenticate_app_v2/", "authenticate_app_v2",
		"/backend-api/x/../authenticate_app_v2", "/backend-api/authenticate_app_v2/.", "/backend-api/authenticate_app_v2/x/..",
		"/backend-api/authenticate%5Fapp_v2", "/backend-api/authenticate%255Fapp_v2", "/backend-api%2Fauthenticate_app_v2",
		"/backend-api/Authenticate_App_V2", "/backend-api/authenticate_app_v2;x", `/backend-api\authenticate_app_v2`,
	} {
		if auth := mustSign(t, s, Request{Path: path}); !auth.Keep {
			t.Errorf("%s is signed by %s", path, auth.Value.Reveal())
		}
	}
}

func TestRulePatternsAreCanonical(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ glob, path string }{
		{"/wham/", "/wham"},
		{"/wham/", "/wham/"},
		{"//wham//tasks", "/wham/tasks"},
		{"/./wham/*/", "/wham/x"},
		{"/", "/"},
		{"/", ""},
		{"**", "/a/b"},
		{"/é", "/%C3%A9"},
		{"/a.b+c(d)", "/a.b+c(d)"},
	} {
		if !mustRule(t, "", test.glob, "").match(Request{Path: test.path}) {
			t.Errorf("%s does not match %s", test.glob, test.path)
		}
	}
	if mustRule(t, "", "/a.b", "").match(Request{Path: "/axb"}) {
		t.Error(`"." stands for more than itself`)
	}
}

func TestBadRules(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ host, glob, want string }{
		{"chatgpt.*", "", `host pattern "chatgpt.*": only a leading "*." may stand for names below a host`},
		{"*", "", `host pattern "*": only a leading "*." may stand for names below a host`},
		{"*.*.com", "", `host pattern "*.*.com": only a leading "*." may stand for names below a host`},
		{"*.", "", `host pattern "*.": it must be a name such as chatgpt.com, without a port`},
		{"chatgpt.com:443", "", `host pattern "chatgpt.com:443": it must be a name such as chatgpt.com, without a port`},
		{"https://chatgpt.com", "", `host pattern "https://chatgpt.com": it must be a name such as chatgpt.com, without a port`},
		{"chatgpt.com.", "", `host pattern "chatgpt.com.": it must be a name such as chatgpt.com, without a port`},
		{"", "models", `path pattern "models": must begin with "/" or "**"`},
		{"", "*models", `path pattern "*models": must begin with "/" or "**"`},
		{"", "?x", `path pattern "?x": must begin with "/" or "**"`},
		{"", "/%61", `path pattern "/%61": write characters as themselves, without percent-encoding`},
		{"", "/\xff", `path pattern "/\xff": not UTF-8`},
	} {
		if _, err := NewRule(test.host, test.glob, None{}); err == nil || err.Error() != test.want {
			t.Errorf("NewRule(%q, %q) = %v, want %s", test.host, test.glob, err, test.want)
		}
	}
}
