package signer

import "testing"

func mustRule(t testing.TB, host, glob, name string) Rule {
	t.Helper()
	rule, err := NewRule(Match{Host: host, Path: glob}, named(name))
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
		{"a.b.chatgpt.com", "/", "below"},
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
		{"chatgpt.com", "/backend-api///wham//tasks/", "wham"},
	} {
		auth := mustSign(t, s, Request{Host: test.host, Path: test.path})
		if got := auth.Value.Reveal(); got != test.want {
			t.Errorf("%s%s: %s, want %s", test.host, test.path, got, test.want)
		}
	}
}

// TestRulesRefuseOtherSpellings refuses what servers may take for the path of a
// rule, or for another one.
func TestRulesRefuseOtherSpellings(t *testing.T) {
	t.Parallel()
	s := Rules{Rules: []Rule{mustRule(t, "chatgpt.com", "/backend-api/wham/**", "wham")}, Default: named("default")}
	for _, path := range []string{
		"/backend-api/wh%61m/%zz/100%", "/backend-api%2Fwham%2ftasks", "//backend-api///wham//tasks/", "/backend-api/./wham/./tasks",
		"/x/../backend-api/wham/tasks", "/%2e%2E/backend-api/%2e/wham/tasks", "backend-api/wham/tasks", "/backend-api/wham/../other/x",
		"/backend-api/wham/a%0Ab", "/backend-api/wham;x/tasks", `/backend-api\wham\tasks`, "/backend-api/wh%2561m/tasks", "*", "",
	} {
		auth, err := s.Sign(t.Context(), Request{Host: "chatgpt.com", Path: path})
		if CodeOf(err) != AmbiguousPath {
			t.Errorf("%s: %v, %v", path, auth, err)
		}
		if _, err := s.Renew(t.Context(), Request{Host: "chatgpt.com", Path: path}, passThrough); CodeOf(err) != AmbiguousPath {
			t.Errorf("%s is renewed: %v", path, err)
		}
		if _, err := s.Sign(t.Context(), Request{Host: "ab.chatgpt.com", Path: path}); err != nil {
			t.Errorf("%s for a host without a rule: %v", path, err)
		}
	}
}

// TestRuleMethods has a rule match by method.
func TestRuleMethods(t *testing.T) {
	t.Parallel()
	rule, err := NewRule(Match{Methods: []string{"POST", "PATCH"}, Path: "/a"}, named("rule"))
	if err != nil {
		t.Fatal(err)
	}
	s := Rules{Rules: []Rule{rule}, Default: named("default")}
	for method, want := range map[string]string{"POST": "rule", "PATCH": "rule", "GET": "default", "post": "default", "PURGE": "default"} {
		if got := mustSign(t, s, Request{Method: method, Path: "/a"}).Value.Reveal(); got != want {
			t.Errorf("%s: %s, want %s", method, got, want)
		}
	}
	if _, err := NewRule(Match{Methods: []string{"post"}}, None{}); err == nil || err.Error() != `method "post" is none of GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS` {
		t.Errorf("a method in lower case: %v", err)
	}
}

// TestRefusingRule refuses what it matches, in any case, and lets pass what a rule
// before it matches.
func TestRefusingRule(t *testing.T) {
	t.Parallel()
	first := mustRule(t, "", "/backend-api/conversation/mine", "first")
	refuse, err := NewRule(Match{Host: "chatgpt.com", Path: "/backend-api/conversation/**"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	s := Rules{Rules: []Rule{first, refuse}, Default: named("default")}
	for path, want := range map[string]Code{
		"/backend-api/conversation/mine":     "",
		"/backend-api/conversations":         "",
		"/backend-api/conversation/x":        RuleRefused,
		"/backend-api//conversation//x/":     RuleRefused,
		"/Backend-Api/CONVERSATION/x":        RuleRefused,
		"/backend-api/conv%65rsation/x":      RuleRefused,
		"/backend-api/conversation/../other": AmbiguousPath,
	} {
		r := Request{Host: "chatgpt.com", Path: path}
		if _, err := s.Sign(t.Context(), r); CodeOf(err) != want {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
		// No kind of credential gets round it, that of the client included.
		r.Kind = KindClient
		if _, err := Authorize(t.Context(), s, r); CodeOf(err) != want {
			t.Errorf("%s with the client's own: %v, want %q", path, err, want)
		}
	}
}

// TestRuleAgainstBiscuits has the rule that SECURITY.md names keep the log-in's
// token from whatever a server may take for the request for a biscuit.
func TestRuleAgainstBiscuits(t *testing.T) {
	t.Parallel()
	rule, err := NewRule(Match{Path: "**/authenticate_app_v2"}, nil)
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
		if auth, err := s.Sign(t.Context(), Request{Path: path}); err == nil {
			t.Errorf("%s is signed by %s", path, auth.Value.Reveal())
		}
	}
}

// A pattern is brought into the form that paths are compared in.
func TestRulePatternsAreCanonical(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ glob, path string }{
		{"/wham/", "/wham"},
		{"/wham/", "/wham/"},
		{"//wham//tasks", "/wham/tasks"},
		{"/./wham/*/", "/wham/x"},
		{"/", "/"},
		{"**", "/a/b"},
		{"/é", "/%C3%A9"},
		{"/a.b+c(d)", "/a.b+c(d)"},
	} {
		path, ok := strictPath(test.path)
		if rule := mustRule(t, "", test.glob, ""); !ok || !rule.matchPath(path) {
			t.Errorf("%s does not match %s", test.glob, test.path)
		}
	}
	if rule := mustRule(t, "", "/a.b", ""); rule.matchPath("/axb") {
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
		{"", "/a;b", `path pattern "/a;b": no path that has ';' in it matches a pattern`},
		{"*.com", "", `host pattern "*.com": com is a public suffix, below which anybody can have a name; name the hosts`},
		{"*.co.uk", "", `host pattern "*.co.uk": co.uk is a public suffix, below which anybody can have a name; name the hosts`},
		{"*.GitHub.io", "", `host pattern "*.GitHub.io": github.io is a public suffix, below which anybody can have a name; name the hosts`},
	} {
		if _, err := NewRule(Match{Host: test.host, Path: test.glob}, None{}); err == nil || err.Error() != test.want {
			t.Errorf("NewRule(%q, %q) = %v, want %s", test.host, test.glob, err, test.want)
		}
	}
}
