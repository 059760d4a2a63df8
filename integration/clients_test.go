//go:build linux

package integration

import (
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/agentproxy/agentproxy/integration/chatgpttest"
)

// TestClientToken has the proxy ask for a token, which agentproxy env puts into
// the URL.
func TestClientToken(t *testing.T) {
	t.Parallel()
	p := newFixture(t, fixtureConfig{yaml: `clients: {token: "s3same/+:@"}`}).serve(t)
	if r := curl(t, p.env, backendAPI+"/test/echo"); r.Code != 200 {
		t.Errorf("with the token: status %d\n%s%s", r.Code, r.body, r.stderr)
	}
	p.fixture.checkSigned(t, chatgpttest.SchemeAgentAssertion)
	p.fixture.backend.ResetRequests()

	for name, user := range map[string]*url.Userinfo{
		"without":        nil,
		"with a wrong":   url.UserPassword("agentproxy", "sesame"),
		"with no":        url.UserPassword("agentproxy", ""),
		"as the user of": url.User("s3same/+:@"),
	} {
		u := *p.url(t)
		u.User = user
		r := curl(t, p.env, "--proxy", u.String(), backendAPI+"/test/echo")
		if r.Connect != 407 || r.Code != 0 {
			t.Errorf("%s token: CONNECT answered with %d, the request with %d; want 407 and no request", name, r.Connect, r.Code)
		}
	}
	if requests := p.fixture.backend.Requests(); len(requests) != 0 {
		t.Errorf("%d requests reached the backend", len(requests))
	}
}

func TestRefusedHosts(t *testing.T) {
	t.Parallel()
	p := serveUsual(t)
	for _, target := range []string{"https://evil.example/", "https://chatgpt.com.evil.example/", "https://notchatgpt.com/", "https://127.0.0.1:1/"} {
		// curl is told to use the proxy for 127.0.0.1 too.
		r := curl(t, p.env, "--noproxy", "", target)
		if r.Connect != 403 || r.Exit == 0 || !strings.Contains(r.stderr, "403") {
			t.Errorf("%s: CONNECT answered with %d, curl says %q; want 403", target, r.Connect, r.stderr)
		}
	}
	r := curl(t, p.env, "http://chatgpt.com/backend-api/test/echo")
	if r.Code != 403 {
		t.Errorf("plain http: status %d, want 403", r.Code)
	}
	checkRefusal(t, r.body, "plain_http_refused")
	if requests := p.fixture.backend.Requests(); len(requests) != 0 {
		t.Errorf("%d requests reached the backend", len(requests))
	}
}

// TestGit has git ask for a repository that the backend does not have: git tells
// that from a certificate that it does not trust.
func TestGit(t *testing.T) {
	t.Parallel()
	p := serveUsual(t)
	r := run(t, p.env, systemProgram(t, "git"), "ls-remote", "https://chatgpt.com/x.git")
	if r.code == 0 || !strings.Contains(r.stderr, "not found") {
		t.Errorf("git: exit code %d, want an error that the repository is not found\n%s", r.code, r.stderr)
	}
	requests := p.fixture.checkSigned(t, chatgpttest.SchemeAgentAssertion)
	if !slices.ContainsFunc(requests, func(r chatgpttest.Request) bool {
		return r.RequestURI == "/x.git/info/refs?service=git-upload-pack"
	}) {
		t.Error("git did not ask the backend")
	}
}
