package signer

import (
	"context"
	"net/url"
	"slices"
	"strings"
	"testing"
)

const testBase = "https://chatgpt.com/backend-api"

// mustScope returns a scope of one-word entries.
func mustScope(t testing.TB, words ...string) *Scope {
	t.Helper()
	config := ScopeConfig{BaseURL: testBase}
	for _, word := range words {
		config.Allow = append(config.Allow, ScopeEntry{Word: word})
	}
	return mustScopeOf(t, config)
}

func mustScopeOf(t testing.TB, config ScopeConfig) *Scope {
	t.Helper()
	s, _, err := NewScope(config)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// query takes a request's URL apart as the proxy does, which leaves the path alone.
func query(method, rawURL string) Query {
	authority, path, _ := strings.Cut(strings.TrimPrefix(rawURL, "https://"), "/")
	u := url.URL{Host: authority}
	q := Query{Host: u.Hostname(), Port: u.Port(), Method: method, Path: "/" + path}
	if q.Port == "" {
		q.Port = "443"
	}
	return q
}

// TestScopeEntries widens the scope by entries of one's own.
func TestScopeEntries(t *testing.T) {
	t.Parallel()
	s := mustScopeOf(t, ScopeConfig{BaseURL: testBase, Allow: []ScopeEntry{
		{Word: WordCodex},
		{Match: Match{Methods: []string{"GET"}, Path: "/backend-api/me"}},
		{Match: Match{Host: "chatgpt-staging.com", Path: "/backend-api/**"}},
		{Match: Match{Host: "odd.example:8443"}},
		{Match: Match{Host: "*.chatgpt.com", Path: "/live/*"}, Upgrade: "websocket"},
	}})
	for _, test := range []struct {
		method, url, upgrade string
		kind                 Kind
		entry                int
		reason               Reason
	}{
		{"POST", "https://chatgpt.com/backend-api/codex/responses", "", KindInference, 0, ""},
		{"GET", "https://chatgpt.com/backend-api/me", "", KindAccount, 1, ""},
		{"GET", "https://chatgpt.com/backend-api/m%65/", "", KindAccount, 1, ""},
		{"GET", "https://chatgpt.com/backend-api/Me", "", KindUnknown, -1, ReasonPath},
		{"POST", "https://chatgpt.com/backend-api/me", "", KindUnknown, -1, ReasonMethod},
		{"GET", "https://chatgpt.com/backend-api/x/../me", "", KindUnknown, -1, ReasonSpelling},
		{"GET", "https://chatgpt.com:8443/backend-api/me", "", KindUnknown, -1, ReasonHost},
		{"GET", "https://gov.chatgpt.com/backend-api/me", "", KindUnknown, -1, ReasonPath},

		// The same requests of Codex's carry the same elsewhere.
		{"POST", "https://chatgpt-staging.com/backend-api/codex/responses", "", KindInference, 2, ""},
		{"GET", "https://chatgpt-staging.com/backend-api/codex/responses", "websocket", KindInference, 2, ""},
		{"GET", "https://chatgpt-staging.com/backend-api/plugins/export/curated", "", KindNone, 2, ""},
		{"GET", "https://chatgpt-staging.com/backend-api/conversations", "", KindAccount, 2, ""},
		{"GET", "https://chatgpt-staging.com/backend-api/conversations", "websocket", KindUnknown, -1, ReasonUpgrade},
		{"GET", "https://chatgpt-staging.com/backend-api/authenticate_app_v2", "", KindUnknown, -1, ReasonBootstrap},
		{"POST", "https://chatgpt-staging.com/backend-api/v1/agent/register", "", KindUnknown, -1, ReasonBootstrap},
		{"GET", "https://chatgpt-staging.com/backend-api/v1/agent/x", "", KindUnknown, -1, ReasonBootstrap},
		{"GET", "https://chatgpt-staging.com/backend-api/V1/Agent/x", "", KindUnknown, -1, ReasonBootstrap},
		{"GET", "https://chatgpt-staging.com/backend-api", "", KindUnknown, -1, ReasonPath},

		{"DELETE", "https://odd.example:8443/", "", KindAccount, 3, ""},
		{"DELETE", "https://odd.example/", "", KindUnknown, -1, ReasonHost},
		{"GET", "https://odd.example:8443/a;b", "", KindUnknown, -1, ReasonSpelling},
		{"PURGE", "https://odd.example:8443/", "", KindUnknown, -1, ReasonMethod},

		{"GET", "https://a.b.chatgpt.com/live/1", "websocket", KindAccount, 4, ""},
		{"GET", "https://a.b.chatgpt.com/live/1", "", KindAccount, 4, ""},
		{"GET", "https://a.b.chatgpt.com/live/1", "h2c", KindUnknown, -1, ReasonUpgrade},
		{"GET", "https://evilchatgpt.com/live/1", "", KindUnknown, -1, ReasonHost},
	} {
		q := query(test.method, test.url)
		q.Upgrade = test.upgrade
		if d := s.Decide(t.Context(), q); d.Kind != test.kind || d.Entry != test.entry || d.Reason != test.reason {
			t.Errorf("%s %s %s: %s by %d, %q; want %s by %d, %q", test.method, test.url, test.upgrade, d.Kind, d.Entry, d.Reason, test.kind, test.entry, test.reason)
		}
	}
}

// TestScopeAll allows whatever is asked of the backend and nothing of others, and
// warns of the same where it is not allowed but warned of.
func TestScopeAll(t *testing.T) {
	t.Parallel()
	all, both, none := mustScope(t, WordAll), mustScope(t, WordCodex, WordAll), mustScope(t)
	warn := mustScopeOf(t, ScopeConfig{BaseURL: testBase, Warn: true})
	for _, test := range []struct {
		method, url, upgrade string
		kind, both           Kind
		reason               Reason // where nothing is allowed
	}{
		{"GET", "https://chatgpt.com/backend-api/conversations", "", KindAccount, KindAccount, ReasonHost},
		{"GET", "https://chatgpt.com/", "anything", KindAccount, KindAccount, ReasonHost},
		{"GET", "https://chatgpt.com/backend-api/wham/remote/control/client", "", KindAccount, KindAccount, ReasonHost},
		{"POST", "https://chatgpt.com/backend-api/codex/responses", "", KindInference, KindInference, ReasonHost},
		{"GET", "https://chatgpt.com/backend-api/plugins/export/curated", "", KindNone, KindNone, ReasonHost},
		{"GET", "https://chatgpt.com/a;b", "", KindAccount, KindUnknown, ReasonHost},
		{"GET", "https://chatgpt.com/a/../b", "", KindAccount, KindUnknown, ReasonHost},
		{"GET", "https://chatgpt.com:8443/", "", KindUnknown, KindUnknown, ReasonHost},
		{"GET", "https://ab.chatgpt.com/", "", KindUnknown, KindUnknown, ReasonHost},
		{"GET", "https://chatgpt-staging.com/", "", KindUnknown, KindUnknown, ReasonHost},
		{"TRACE", "https://chatgpt.com/", "", KindUnknown, KindUnknown, ReasonHost},
	} {
		q := query(test.method, test.url)
		q.Upgrade = test.upgrade
		name := test.method + " " + test.url
		if d := all.Decide(t.Context(), q); d.Kind != test.kind {
			t.Errorf("%s: %+v, want %s", name, d, test.kind)
		}
		if d := both.Decide(t.Context(), q); d.Kind != test.both {
			t.Errorf("%s by codex and all: %+v, want %s", name, d, test.both)
		}
		if d := none.Decide(t.Context(), q); d.Kind != KindUnknown || d.Reason != test.reason {
			t.Errorf("%s by nothing: %+v", name, d)
		}
		if d := warn.Decide(t.Context(), q); d.Kind != test.kind || d.Reason != test.reason {
			t.Errorf("%s warned of: %+v, want %s", name, d, test.kind)
		}
	}
	d := all.Decide(t.Context(), query("POST", "https://ab.chatgpt.com/otlp/v1/metrics"))
	if d.Kind != KindNone {
		t.Errorf("all has less in it than codex: %+v", d)
	}
}

// TestScopeOfBiscuits gives the biscuit to what Codex sends, where all is allowed,
// and to nothing that is a little different.
func TestScopeOfBiscuits(t *testing.T) {
	t.Parallel()
	exact := query("GET", "https://chatgpt.com/backend-api/authenticate_app_v2")
	exact.OriginalURL = testBase + "/v1/agent/register"
	edit := func(f func(*Query)) Query { q := exact; f(&q); return q }
	path := func(p string) Query { return edit(func(q *Query) { q.Path = p }) }
	original := func(u string) Query { return edit(func(q *Query) { q.OriginalURL = u }) }
	all := mustScope(t, WordAll)
	for _, q := range []Query{exact, original(testBase + "/v1/agent/a-1/task/register")} {
		if d := all.Decide(t.Context(), q); d.Kind != KindBiscuit {
			t.Errorf("%+v: %+v", q, d)
		}
		for _, s := range []*Scope{
			mustScope(t, WordCodex), mustScopeOf(t, ScopeConfig{BaseURL: testBase, Warn: true}),
			mustScopeOf(t, ScopeConfig{BaseURL: testBase, Allow: []ScopeEntry{{Match: Match{Path: "/**"}}}}),
			mustScopeOf(t, ScopeConfig{BaseURL: testBase, Allow: []ScopeEntry{{Match: Match{Path: "/backend-api/authenticate_app_v2"}}}}),
		} {
			if d := s.Decide(t.Context(), q); d.Allowed() || d.Reason != ReasonBootstrap {
				t.Errorf("%+v without all: %+v", q, d)
			}
		}
	}
	for _, q := range []Query{
		edit(func(q *Query) { q.Method = "POST" }), edit(func(q *Query) { q.Port = "8443" }),
		edit(func(q *Query) { q.Host = "ab.chatgpt.com" }), edit(func(q *Query) { q.Upgrade = "websocket" }),
		path("/authenticate_app_v2"), path("/backend-api/codex/authenticate_app_v2"), path("/backend-api//authenticate_app_v2"),
		path("/backend-api/authenticate_app_v2/"), path("/backend-api/authenticate%5Fapp_v2"), path("/backend-api/Authenticate_app_v2"),
		path("/backend-api/x/../authenticate_app_v2"), path("/backend-api/authenticate_app_v2;x"), path("/backend-api/%61uthenticate_app_v2"),
		original(""), original(testBase), original(testBase + "/conversations"), original(testBase + "/v1/agent//task/register"),
		original(testBase + "/v1/agent/a/b/task/register"), original(testBase + "/v1/agent/a/../register"),
		original("https://chatgpt.com.evil/backend-api/v1/agent/register"), original("https://evil.example/v1/agent/register"),
		original(testBase + "/v1/agent/register?x"), original("/v1/agent/register"),
	} {
		if d := all.Decide(t.Context(), q); d.Kind == KindBiscuit || d.Kind == KindAccount || d.Kind == KindInference {
			t.Errorf("%+v: %+v", q, d)
		}
	}
	if d := all.Decide(t.Context(), query("POST", testBase+"/v1/agent/register")); d.Kind != KindClient {
		t.Errorf("a registration: %+v", d)
	}
}

// namedOrigins are hosts that the backend has named.
type namedOrigins map[string]int

func (o namedOrigins) Named(_ context.Context, host string) bool {
	n, ok := o[host]
	if ok {
		o[host] = n + 1
	}
	return ok
}

// TestScopeOrigins asks for the hosts that the backend names, where they would
// count, and nowhere else.
func TestScopeOrigins(t *testing.T) {
	t.Parallel()
	named := namedOrigins{"gov.chatgpt.com": 0, "evil.example": 0, "chatgpt.com": 0}
	s := mustScopeOf(t, ScopeConfig{BaseURL: testBase, Allow: []ScopeEntry{{Word: WordCodex}}, Origins: named})
	for _, test := range []struct {
		method, url string
		kind        Kind
		asked       int
	}{
		{"POST", "https://gov.chatgpt.com/backend-api/codex/responses", KindInference, 1},
		{"GET", "https://gov.chatgpt.com/backend-api/plugins/export/curated", KindNone, 2},
		{"GET", "https://gov.chatgpt.com/backend-api/conversations", KindUnknown, 2},
		{"POST", "https://gov.chatgpt.com:8443/backend-api/codex/responses", KindUnknown, 2},
		{"POST", "https://evil.example/backend-api/codex/responses", KindUnknown, 2},
		{"POST", "https://dangling.chatgpt.com/backend-api/codex/responses", KindUnknown, 2},
		{"POST", "https://chatgpt.com/backend-api/codex/responses", KindInference, 2},
	} {
		if d := s.Decide(t.Context(), query(test.method, test.url)); d.Kind != test.kind || named["gov.chatgpt.com"] != test.asked {
			t.Errorf("%s %s: %+v, asked %v", test.method, test.url, d, named)
		}
	}
	if named["evil.example"]+named["chatgpt.com"] != 0 {
		t.Errorf("asked %v", named)
	}
}

// TestWidening adds to the scope what a refusal says, which then allows the
// request.
func TestWidening(t *testing.T) {
	t.Parallel()
	s := mustScope(t, WordCodex)
	for _, test := range []struct{ method, url, upgrade, want string }{
		{"GET", "https://chatgpt.com/backend-api/me", "", "{host: chatgpt.com, methods: [GET], path: /backend-api/me}"},
		{"POST", "https://chatgpt-staging.com:8443//x", "", ""},
		{"POST", "https://chatgpt-staging.com:8443/x//y/", "", `{host: "chatgpt-staging.com:8443", methods: [POST], path: /x/y}`},
		{"GET", "https://chatgpt.com/a%20%C3%A9%22b:c", "WebSocket", `{host: chatgpt.com, methods: [GET], path: "/a \u00e9\"b:c", upgrade: websocket}`},
		{"GET", "https://chatgpt.com/backend-api/wham/remote/control/client", "", "{host: chatgpt.com, methods: [GET], path: /backend-api/wham/remote/control/client}"},
		{"GET", "https://chatgpt.com/a/../b", "", ""},
		{"PURGE", "https://chatgpt.com/a", "", ""},
		{"POST", "https://chatgpt.com/backend-api/v1/agent/register", "", "all"},
		{"POST", "https://ab.chatgpt.com/backend-api/v1/agent/register", "", ""},
	} {
		q := query(test.method, test.url)
		q.Upgrade = test.upgrade
		entry, ok := s.Widening(q, s.Decide(t.Context(), q))
		if !ok {
			if test.want != "" {
				t.Errorf("%s %s: nothing, want %s", test.method, test.url, test.want)
			}
			continue
		}
		if got := entry.String(); got != test.want {
			t.Errorf("%s %s: %s, want %s", test.method, test.url, got, test.want)
		}
		wider := mustScopeOf(t, ScopeConfig{BaseURL: testBase, Allow: append(slices.Clone(s.config.Allow), entry)})
		if d := wider.Decide(t.Context(), q); !d.Allowed() || d.Reason != InScope {
			t.Errorf("%s does not allow %s %s: %+v", entry, test.method, test.url, d)
		}
	}
	want := "scope:\n  allow:\n    - codex\n    - {host: chatgpt.com, path: /x}\n"
	if got := s.AllowYAML(ScopeEntry{Match: Match{Host: "chatgpt.com", Path: "/x"}}); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// TestBadScopes says which entry is wrong.
func TestBadScopes(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		entry ScopeEntry
		want  string
	}{
		{ScopeEntry{Match: Match{Host: "*.com"}}, `host pattern "*.com": com is a public suffix, below which anybody can have a name; name the hosts`},
		{ScopeEntry{Match: Match{Host: "*.github.io:8443"}}, `host pattern "*.github.io": github.io is a public suffix, below which anybody can have a name; name the hosts`},
		{ScopeEntry{Match: Match{Host: ":443"}}, `host pattern ":443": the name is missing, and it would be for every host; name one`},
		{ScopeEntry{Match: Match{Host: "chatgpt.com:0"}}, `host pattern "chatgpt.com:0": port "0" is not a number from 1 to 65535`},
		{ScopeEntry{Match: Match{Path: "me"}}, `path pattern "me": must begin with "/" or "**"`},
		{ScopeEntry{Match: Match{Methods: []string{"TRACE"}}}, `method "TRACE" is none of GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS`},
	} {
		_, index, err := NewScope(ScopeConfig{BaseURL: testBase, Allow: []ScopeEntry{{Word: WordCodex}, test.entry}})
		if err == nil || err.Error() != test.want || index != 1 {
			t.Errorf("%v: %d, %v; want %s", test.entry, index, err, test.want)
		}
	}
}

func BenchmarkScope(b *testing.B) {
	s := mustScope(b, WordCodex)
	q := query("GET", "https://chatgpt.com/backend-api/realtime/x")
	b.ReportAllocs()
	for b.Loop() {
		if d := s.Decide(b.Context(), q); !d.Allowed() {
			b.Fatal(d)
		}
	}
}
