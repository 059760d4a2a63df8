//go:build linux

package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// asks are questions that agentproxy answers with a credential, one a dialect.
var asks = [][]string{
	{"/auth-request/chatgpt.com", "-H", "X-Original-Method: GET", "-H", "X-Original-URI: /"},
	{"/forward-auth/chatgpt.com", "-H", "X-Forwarded-Method: GET", "-H", "X-Forwarded-Uri: /"},
	{"/ext-authz/chatgpt.com/"},
}

// ask runs curl with a question.
func (p *proxy) ask(t *testing.T, as uint32, question []string, more ...string) curlResult {
	t.Helper()
	m := answering.FindStringSubmatch(p.log.String())
	if m == nil {
		t.Fatal("agentproxy serve does not say where it answers gateways")
	}
	args := append(append([]string{"http://" + m[1] + question[0]}, question[1:]...), more...)
	if as == uint32(os.Getuid()) {
		return curl(t, baseEnv(t), args...)
	}
	return p.curlAs(t, as, append([]string{"--proxy", ""}, args...)...)
}

// TestGatewayOfAnotherUser: without a token credentials are for processes of
// agentproxy's own user, and for nothing that a web page can send.
func TestGatewayOfAnotherUser(t *testing.T) {
	t.Parallel()
	f := newFixture(t, fixtureConfig{yaml: "authz: {listen: '127.0.0.1:0'}"})
	p := f.serve(t)
	own := uint32(os.Getuid())
	for _, question := range asks {
		if r := p.ask(t, own, question); r.Code != 200 || !strings.HasPrefix(r.header.Get("Authorization"), "AgentAssertion ") {
			t.Errorf("the own user: %d %v", r.Code, r.header)
		}
		for _, page := range []string{"Host: rebound.evil.example", "Origin: https://evil.example", "Sec-Fetch-Site: cross-site"} {
			r := p.ask(t, own, question, "-H", page)
			if r.Code != 403 || r.header.Get("Authorization") != "" {
				t.Errorf("a page, by %s: %d %v", page, r.Code, r.header)
			}
			checkRefusal(t, r.body, "authz_browser")
		}
		if needRoot(t) {
			r := p.ask(t, nobody, question)
			if r.Code != 403 || r.header.Get("Authorization") != "" {
				t.Errorf("another user: %d %v", r.Code, r.header)
			}
			checkRefusal(t, r.body, "foreign_user")
		}
	}
}

// TestGatewayToken: with a token every user may ask who shows it, another one
// counts as soon as it is in the file, and none is in the log.
func TestGatewayToken(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "token")
	writeFile(t, file, []byte("s3same\n"))
	f := newFixture(t, fixtureConfig{yaml: fmt.Sprintf("authz: {listen: '127.0.0.1:0', token_file: %q}", file)})
	p := f.serve(t)
	own := uint32(os.Getuid())
	users := []uint32{own}
	if needRoot(t) {
		users = append(users, nobody)
	}
	for _, uid := range users {
		for _, question := range asks {
			if r := p.ask(t, uid, question, "-H", "X-Agentproxy-Token: s3same"); r.Code != 200 || r.header.Get("Authorization") == "" {
				t.Errorf("user %d with the token: %d %v", uid, r.Code, r.header)
			}
			for _, wrong := range []string{"", "sesame", "s3same " + "x"} {
				r := p.ask(t, uid, question, "-H", "X-Agentproxy-Token: "+wrong)
				if r.Code != 403 || r.header.Get("Authorization") != "" || strings.Contains(r.body, "s3same") {
					t.Errorf("user %d with %q: %d %v %s", uid, wrong, r.Code, r.header, r.body)
				}
				checkRefusal(t, r.body, "authz_token_required")
			}
		}
	}
	writeFile(t, file, []byte("0pen\n"))
	eventually(t, "the new token to count", func() bool {
		return p.ask(t, own, asks[0], "-H", "X-Agentproxy-Token: 0pen").Code == 200
	})
	if r := p.ask(t, own, asks[0], "-H", "X-Agentproxy-Token: s3same"); r.Code != 403 {
		t.Errorf("the former token: %d", r.Code)
	}
	if log := p.log.String(); strings.Contains(log, "s3same") || strings.Contains(log, "0pen") {
		t.Errorf("the log holds the token:\n%s", log)
	}
}
