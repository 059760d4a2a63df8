package proxy

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/agentproxy/agentproxy/proxy/internal/proxytest"
	"github.com/agentproxy/agentproxy/signer"
)

// TestChallengeIsNoRefusal: a client that shows its token only when it is asked for
// it, as git does, is not told off for that.
func TestChallengeIsNoRefusal(t *testing.T) {
	t.Parallel()
	outcomes := make(chan Outcome, 2)
	p := startProxy(t, "", func(c *Config) {
		c.Clients.Token = "right"
		c.Observe = func(o Outcome) { outcomes <- o }
	})
	c := p.dial(t)
	c.Send(t, "CONNECT chatgpt.com:443 HTTP/1.1\r\nHost: x\r\n\r\n")
	res := c.Response(t, http.MethodGet)
	proxytest.WantRefusal(t, res, http.StatusProxyAuthRequired, "proxy_auth_required", "http_request_denied")
	if o := <-outcomes; o.Refused != "" || o.Status != http.StatusProxyAuthRequired {
		t.Errorf("the challenge is counted as %q, status %d", o.Refused, o.Status)
	}
	if log := p.log.String(); strings.Contains(log, `"level":"warn"`) {
		t.Errorf("the challenge is warned of: %s", log)
	}
	c = p.next(t, c, res)
	c.Send(t, "CONNECT chatgpt.com:443 HTTP/1.1\r\nHost: x\r\nProxy-Authorization: Basic %s\r\n\r\n", proxytest.BasicAuth("x", "wrong"))
	c.Response(t, http.MethodGet)
	if o := <-outcomes; o.Refused != "proxy_auth_required" {
		t.Errorf("a wrong token is counted as %q", o.Refused)
	}
	p.logged(t, `"level":"warn"`)
}

// TestClientLabel: a client that has a label cannot give itself another.
func TestClientLabel(t *testing.T) {
	t.Parallel()
	backend := proxytest.NewBackend(t, proxytest.H1, func(http.ResponseWriter, *http.Request) {})
	labels := make(chan string, 4)
	p := startProxy(t, backend.Listener.Addr().String(), func(c *Config) {
		c.Clients.Token, c.Clients.Label = "right", "run"
		c.Signer = proxytest.SignerFunc(func(r signer.Request) (*signer.Authorization, error) {
			labels <- r.Label
			return proxytest.Bearer(), nil
		})
	})
	for _, user := range []string{"run", "another", ""} {
		proxytest.Get(t, p.clientAs(t, proxytest.H1, url.UserPassword(user, "right")), proxytest.Origin+"/")
		if got := <-labels; got != "run" {
			t.Errorf("the user name %q has the label %q", user, got)
		}
	}
}
