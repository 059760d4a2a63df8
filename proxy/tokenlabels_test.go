package proxy

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"github.com/agentproxy/agentproxy/proxy/access"
	"github.com/agentproxy/agentproxy/proxy/internal/proxytest"
)

// TestTokenFileLabels has the signer asked with the label that the token is
// for, whatever the client makes of the user name.
func TestTokenFileLabels(t *testing.T) {
	t.Parallel()
	tokens := openTokens(t, "build:token", "other:"+bcryptOf(t, "hashed"))
	address, reached := countingBackend(t)
	p := startProxy(t, address, func(c *Config) { c.Clients.Tokens = tokens })
	for _, test := range []struct{ user, token, label string }{
		{"build", "token", "build"}, {"", "token", "build"}, {"other", "hashed", "other"},
	} {
		proxytest.Get(t, p.clientAs(t, proxytest.H1, url.UserPassword(test.user, test.token)), proxytest.Origin+"/"+test.label)
		p.logged(t, fmt.Sprintf(`"client":%q`, test.label))
	}
	before := reached.Load()
	var first string
	for _, credentials := range [][2]string{{"other", "token"}, {"build", "hashed"}, {"build", "wrong"}, {"unknown", "wrong"}, {"unknown", "token"}, {"", "hashed"}} {
		c := p.dial(t)
		c.Send(t, "CONNECT chatgpt.com:443 HTTP/1.1\r\nHost: x\r\nProxy-Authorization: Basic %s\r\n\r\n", proxytest.BasicAuth(credentials[0], credentials[1]))
		message := proxytest.WantRefusal(t, c.Response(t, http.MethodGet), http.StatusProxyAuthRequired, "proxy_auth_required", "http_request_denied")
		if first == "" {
			first = message
		}
		if message != first {
			t.Errorf("%q: the answer %q tells it from the first, %q", credentials, message, first)
		}
	}
	if reached.Load() != before {
		t.Error("a refused request reached the server")
	}
	for _, secret := range []string{"hashed", "wrong", proxytest.BasicAuth("build", "token")} {
		if log := p.log.String(); strings.Contains(log, secret) {
			t.Errorf("the log holds %s:\n%s", secret, log)
		}
	}
}

// TestLabelsPerClient lets a client that chooses its label have a few, and tells it when it
// may use another.
func TestLabelsPerClient(t *testing.T) {
	t.Parallel()
	address, _ := countingBackend(t)
	p := startProxy(t, address, func(c *Config) { c.Limits.LabelsPerClient = 2 })
	connect := func(label string) *http.Response {
		t.Helper()
		c := p.dial(t)
		c.Send(t, "CONNECT chatgpt.com:443 HTTP/1.1\r\nHost: x\r\nProxy-Authorization: Basic %s\r\n\r\n", proxytest.BasicAuth(label, ""))
		return c.Response(t, http.MethodConnect)
	}
	for _, label := range []string{"a", "b", "a"} {
		if res := connect(label); res.StatusCode != http.StatusOK {
			t.Fatalf("%s: %s", label, res.Status)
		}
	}
	res := connect("c")
	if after, err := strconv.Atoi(res.Header.Get("Retry-After")); err != nil || after < 60 || after > 1800 {
		t.Errorf("Retry-After: %q", res.Header.Get("Retry-After"))
	}
	proxytest.WantRefusal(t, res, http.StatusServiceUnavailable, "busy", "http_request_denied")
	if res := connect(""); res.StatusCode != http.StatusOK {
		t.Errorf("without a label: %s", res.Status)
	}
}

// bcryptOf returns a hash that is as cheap as there is one.
func bcryptOf(t testing.TB, token string) string {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(token), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	return string(hash)
}

func openTokens(t testing.TB, lines ...string) *access.TokenFile {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tokens")
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := access.OpenTokenFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return f
}
