package standin

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/rs/zerolog"

	"github.com/agentproxy/agentproxy/certs"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/app"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/cli"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/config"
	"github.com/agentproxy/agentproxy/integration/chatgpttest"
	"github.com/agentproxy/agentproxy/proxy"
	"github.com/agentproxy/agentproxy/proxy/access"
)

// Demo sends a request without a credential through a proxy to a stand-in, checks that the
// stand-in got an assertion, and writes what happens to out. getenv names the home, and self
// is how this program is called.
func Demo(ctx context.Context, out io.Writer, getenv func(string) string, self string) (err error) {
	say := func(format string, args ...any) { fmt.Fprintf(out, format+"\n", args...) }

	dir, err := makeDemoDir(getenv("HOME"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()

	backend, err := chatgpttest.NewServerWith(chatgpttest.Config{})
	if err != nil {
		return err
	}
	defer backend.Close()
	configPath, err := WriteHome(dir, backend, backend.Addr())
	if err != nil {
		return err
	}
	say("backend   a stand-in for chatgpt.com listens on %s and knows one account", backend.Addr())

	env := cli.Environment{Lookup: func(string) (string, bool) { return "", false }}
	conf, err := config.Load(configPath, env)
	if err != nil {
		return err
	}
	a, err := app.Open(conf, app.Options{Env: env, Log: zerolog.Nop()})
	if err != nil {
		return err
	}
	defer a.Close()
	ca, err := certs.Open(a.CAConfig())
	if err != nil {
		return err
	}
	say("CA        made, SHA-256 %s;\n          it can vouch for ChatGPT's hosts and nothing else", ca.Fingerprint())
	session, err := a.Default.Account.Agent.Session(ctx, demoLabel)
	if err != nil {
		return err
	}
	id := session.Identity
	say("identity  a key was made and registered: agent %s of workspace %s", id.AgentRuntimeID, id.Account.WorkspaceID)
	say("          public key %s", id.Key.PublicKey())
	say("          task %s", session.Task.ID)

	listener, err := app.Listen("127.0.0.1:0")
	if err != nil {
		return err
	}
	token := rand.Text()
	p := proxy.New(a.ProxyConfig(ca, access.Config{Token: token}))
	serving := make(chan error, 1)
	go func() { serving <- p.Serve(listener) }()
	defer func() { err = errors.Join(err, app.Shutdown(p, app.Canceled()), <-serving) }()
	say("proxy     listening on %s", listener.Addr())

	if err := demoRequest(ctx, say, &url.URL{Scheme: "http", Host: listener.Addr().String(), User: url.UserPassword(demoLabel, token)}, ca); err != nil {
		return err
	}
	requests := backend.Requests()
	last := requests[len(requests)-1]
	if last.Auth.Scheme != chatgpttest.SchemeAgentAssertion || !last.Auth.OK || last.Auth.TaskID != session.Task.ID {
		return fmt.Errorf("the backend did not verify an assertion of task %s for %s %s: %s", session.Task.ID, last.Method, last.Path, last.Auth.Reason)
	}
	say("backend   verified the assertion of agent %s, task %s", last.Auth.AgentRuntimeID, last.Auth.TaskID)
	say("\nThe client held no credential. Try your own: %s run -- codex", self)
	say("Without an account, play ChatGPT in another terminal: %[1]s backend --dir standin\nand then: %[1]s run --config standin/agentproxy.yaml -- codex", self)
	return nil
}

// makeDemoDir makes the directory of a demo: a temporary one, or one in the home directory
// where no temporary one can be made, as in the image.
func makeDemoDir(home string) (string, error) {
	const pattern = "agentproxy-demo-"
	dir, err := os.MkdirTemp("", pattern)
	if err == nil {
		return dir, nil
	}
	if home != "" {
		if dir, err := os.MkdirTemp(home, "."+pattern); err == nil {
			return dir, nil
		}
	}
	return "", fmt.Errorf("make a directory for the demo: %w; set TMPDIR to one that can be written to, or give the container one: docker run --tmpfs /tmp", err)
}

// demoLabel is the session label of the demo's client.
const demoLabel = "demo"

// demoRequest sends a request as a client without a credential does.
func demoRequest(ctx context.Context, say func(string, ...any), proxyURL *url.URL, ca *certs.Authority) error {
	roots := x509.NewCertPool()
	roots.AddCert(ca.Certificate())
	transport := &http.Transport{
		Proxy:             http.ProxyURL(proxyURL),
		ForceAttemptHTTP2: true,
	}
	transport.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	defer transport.CloseIdleConnections()

	const target = "https://chatgpt.com/backend-api/codex/responses"
	question := strings.NewReader(`{"model":"demo","stream":true,"input":[{"type":"message","role":"user","content":[{"type":"input_text","text":"hi"}]}]}`)
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, target, question)
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	say("client    POST %s, without a credential", target)
	response, err := transport.RoundTrip(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		return err
	}
	say("client    got %s over %s, %d bytes", response.Status, response.Proto, len(body))
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("the demo's request failed: %s", body)
	}
	return nil
}
