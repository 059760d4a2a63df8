package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/agentproxy/agentproxy/identity"
	"github.com/agentproxy/agentproxy/proxy/audit"
	"github.com/agentproxy/agentproxy/proxy/internal/proxytest"
	"github.com/agentproxy/agentproxy/signer"
)

// auditLog remembers what it is told, or refuses it.
type auditLog struct {
	mu        sync.Mutex
	decisions []audit.Decision
	fail      func(audit.Decision) bool
}

func (l *auditLog) Audit(d audit.Decision) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fail != nil && l.fail(d) {
		return errors.New("no space left on device")
	}
	l.decisions = append(l.decisions, d)
	return nil
}

func (l *auditLog) take() []audit.Decision {
	l.mu.Lock()
	defer l.mu.Unlock()
	taken := l.decisions
	l.decisions = nil
	return taken
}

func (l *auditLog) use(c *Config) { c.Audit = l }

// bySigner signs by the path: with an assertion, not at all, or it refuses.
func bySigner(r signer.Request) (*signer.Authorization, error) {
	switch r.Path {
	case "/none":
		return &signer.Authorization{Scheme: signer.SchemeNone, PassThrough: true, Signer: "none"}, nil
	case "/unsigned":
		return nil, &signer.Error{Code: signer.NoLogin, Message: "nobody is logged in"}
	}
	return &signer.Authorization{
		Value: identity.Secret("AgentAssertion " + proxytest.AccessToken), Scheme: signer.SchemeAssertion, TaskID: "task-1", Signer: "agent-assertion",
	}, nil
}

// TestAuditDecisions has the audit log say of every request who asked for what,
// what was put on it and why it was refused, before it reaches a server.
func TestAuditDecisions(t *testing.T) {
	t.Parallel()
	log := new(auditLog)
	var early atomic.Int32
	served := func(w http.ResponseWriter, _ *http.Request) {
		log.mu.Lock()
		early.Add(int32(len(log.decisions))) // one decision a request
		log.mu.Unlock()
		_, _ = io.WriteString(w, "answer")
	}
	backend := proxytest.NewBackend(t, proxytest.H1, served)
	p := startProxy(t, backend.Listener.Addr().String(), log.use, func(c *Config) {
		c.Signer = proxytest.SignerFunc(bySigner)
		c.OtherHosts = OtherHosts{Refuse: true, Only: patterns(t, "example.org:443")}
		c.Upstream.ConnectTo["example.org:443"] = backend.Listener.Addr().String()
	})
	user := url.UserPassword("build-42", "")

	for _, test := range []struct {
		name, url string
		want      audit.Decision
		sent      bool
	}{
		{"sign", proxytest.Origin + "/a%2Fb?secret=query", audit.Decision{Verdict: audit.VerdictSign, Client: "build-42", Host: "chatgpt.com:443", Method: "GET", Path: "/a%2Fb", Scheme: signer.SchemeAssertion, Task: "task-1", Signer: "agent-assertion"}, true},
		{"pass", proxytest.Origin + "/none", audit.Decision{Verdict: audit.VerdictPass, Client: "build-42", Host: "chatgpt.com:443", Method: "GET", Path: "/none", Scheme: signer.SchemeNone, Signer: "none"}, true},
		{"unsigned", proxytest.Origin + "/unsigned", audit.Decision{Verdict: audit.VerdictRefuse, Client: "build-42", Host: "chatgpt.com:443", Method: "GET", Path: "/unsigned", Refused: "no_login"}, false},
		{"tunnel", "https://example.org/x", audit.Decision{Verdict: audit.VerdictTunnel, Client: "build-42", Host: "example.org:443", Method: "CONNECT"}, true},
		{"refused host", "https://example.net/x", audit.Decision{Verdict: audit.VerdictRefuse, Client: "build-42", Host: "example.net:443", Method: "CONNECT", Refused: "host_refused"}, false},
		{"in clear", "http://chatgpt.com/x?y", audit.Decision{Verdict: audit.VerdictRefuse, Client: "build-42", Host: "chatgpt.com:80", Method: "GET", Path: "/x", Refused: "plain_http_refused"}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			before := early.Load()
			c := p.clientAs(t, proxytest.H1, user)
			if test.name == "tunnel" {
				c.Transport.(*http.Transport).TLSClientConfig.RootCAs = proxytest.Pool(proxytest.ServerCA())
			}
			if res, err := c.Do(proxytest.NewRequest(t, http.MethodGet, test.url, nil)); err == nil {
				res.Body.Close()
			}
			got := log.take()
			if diff := cmp.Diff([]audit.Decision{test.want}, got, cmpopts.IgnoreFields(audit.Decision{}, "Time", "Peer")); diff != "" {
				t.Fatalf("(-want +got):\n%s", diff)
			}
			if !strings.HasPrefix(got[0].Peer, "127.0.0.1:") || time.Since(got[0].Time) > proxytest.Patience {
				t.Errorf("from %s at %s", got[0].Peer, got[0].Time)
			}
			if sent := early.Load() - before; sent != 0 && !test.sent || sent != 1 && test.sent {
				t.Errorf("%d decisions were recorded when the request reached the server", sent)
			}
		})
	}
}

// TestAuditPlain: http:// to another host is told too.
func TestAuditPlain(t *testing.T) {
	t.Parallel()
	log := new(auditLog)
	heads := make(chan []string, 1)
	addr := proxytest.NewRawServer(t, proxytest.PlainRecorder(heads))
	p := startProxy(t, "", log.use, func(c *Config) { c.Upstream.ConnectTo["example.org:80"] = addr })
	proxytest.Get(t, p.client(t, proxytest.H1), "http://example.org/path?query")
	want := []audit.Decision{{Verdict: audit.VerdictPlain, Host: "example.org:80", Method: "GET", Path: "/path"}}
	if diff := cmp.Diff(want, log.take(), cmpopts.IgnoreFields(audit.Decision{}, "Time", "Peer")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// renewing is a signer whose second credential is another.
type renewing struct{}

func (renewing) Sign(context.Context, signer.Request) (*signer.Authorization, error) {
	return proxytest.Bearer(), nil
}

const renewedToken = "renewed-access-token"

func (renewing) Renew(context.Context, signer.Request, *signer.Authorization) (*signer.Authorization, error) {
	return &signer.Authorization{Value: "Bearer " + renewedToken, Scheme: signer.SchemeBearer, Signer: "bearer"}, nil
}

// onlyRenewed answers 401 to the credential before the renewed one.
func onlyRenewed(seen *atomic.Int32) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		seen.Add(1)
		if r.Header.Get("Authorization") != "Bearer "+renewedToken {
			w.WriteHeader(http.StatusUnauthorized)
		}
	}
}

func TestAuditResend(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		fail         func(audit.Decision) bool
		status, seen int
		verdicts     string
	}{
		"recorded":     {nil, http.StatusOK, 2, "[sign resend]"},
		"not recorded": {func(d audit.Decision) bool { return d.Verdict == audit.VerdictResend }, http.StatusUnauthorized, 1, "[sign]"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var seen atomic.Int32
			log := &auditLog{fail: test.fail}
			p := startProxy(t, proxytest.NewBackend(t, proxytest.H1, onlyRenewed(&seen)).Listener.Addr().String(), log.use, func(c *Config) { c.Signer = renewing{} })
			res := proxytest.Get(t, p.client(t, proxytest.H2), proxytest.Origin+"/")
			var verdicts []audit.Verdict
			for _, d := range log.take() {
				verdicts = append(verdicts, d.Verdict)
			}
			if got := fmt.Sprint(verdicts); res.StatusCode != test.status || int(seen.Load()) != test.seen || got != test.verdicts {
				t.Errorf("%s after %d requests, recorded %s", res.Status, seen.Load(), got)
			}
		})
	}
}

// TestAuditFailureRefuses: what cannot be recorded is not sent.
func TestAuditFailureRefuses(t *testing.T) {
	t.Parallel()
	var seen atomic.Int32
	backend := proxytest.NewBackend(t, proxytest.H1, func(http.ResponseWriter, *http.Request) { seen.Add(1) })
	addr := backend.Listener.Addr().String()
	log := &auditLog{fail: func(audit.Decision) bool { return true }}
	p := startProxy(t, addr, log.use, func(c *Config) {
		c.Upstream.ConnectTo["example.org:443"], c.Upstream.ConnectTo["example.org:80"] = addr, addr
	})
	const status, code, kind = http.StatusServiceUnavailable, "audit_failed", "proxy_internal_error"
	for _, proto := range []string{proxytest.H1, proxytest.H2} {
		message := proxytest.WantRefusal(t, proxytest.Get(t, p.client(t, proto), proxytest.Origin+"/"), status, code, kind)
		if !strings.Contains(message, "no space left on device") {
			t.Errorf("message %q", message)
		}
	}
	proxytest.WantRefusal(t, proxytest.Get(t, p.client(t, proxytest.H1), "http://example.org/"), status, code, kind)
	c := p.dial(t)
	c.Send(t, "CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\n\r\n")
	proxytest.WantRefusal(t, c.Response(t, http.MethodGet), status, code, kind)
	c = p.dial(t)
	c.Send(t, "CONNECT user@example.org:443 HTTP/1.1\r\nHost: example.org:443\r\n\r\n")
	if res := c.Response(t, http.MethodGet); res.StatusCode != http.StatusBadRequest {
		t.Errorf("a refusal became %s", res.Status)
	}
	if n := seen.Load(); n != 0 {
		t.Errorf("%d requests were sent", n)
	}
}
