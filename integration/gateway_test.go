//go:build linux

package integration

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/agentproxy/agentproxy/integration/chatgpttest"
)

// gatewayName is what clients call the gateways of deploy/.
const gatewayName = "chatgpt.gateway.example"

// usualLabel is the field in which most gateways of deploy/ tell a session label.
const usualLabel = "X-Agentproxy-Label"

// deployedAllowed are the addresses that the gateways of deploy/ let in.
const deployedAllowed = "127.0.0.0/8"

// gateway is another program that forwards requests, signed as agentproxy says.
type gateway struct {
	fixture *fixture
	authz   string // where agentproxy answers
	addr    string // where the gateway is to listen
	dir     string
	cert    string // the gateway's certificate, with its key beside
	key     string
	token   string
	env     []string       // of the gateway's program, besides what all have
	deaf    bool           // it does not tell agentproxy of Upgrade
	allowed string         // the addresses that clients may come from
	roots   *x509.CertPool // that clients trust
}

var answering = regexp.MustCompile(`(?m)^agentproxy: answering gateways on (\S+)$`)

// newGateway starts an agentproxy that answers gateways, and makes what one
// needs. c's configuration must not have authz.
func newGateway(t *testing.T, c fixtureConfig) *gateway {
	t.Helper()
	return newLabelledGateway(t, c, usualLabel)
}

// newLabelledGateway is newGateway with the field in which the gateway tells a
// session label.
func newLabelledGateway(t *testing.T, c fixtureConfig, label string) *gateway {
	t.Helper()
	const token = "a-token-that-gateways-show"
	c.yaml += "\nauthz: {listen: '127.0.0.1:0', token: " + token + ", label_header: " + label + "}"
	f := newFixture(t, c)
	p := f.start(t, baseEnv(t), agentproxy, "serve", "--config", f.config)
	m := answering.FindStringSubmatch(p.log.String())
	if m == nil {
		t.Fatal("agentproxy serve does not say where it answers gateways")
	}
	g := &gateway{fixture: f, authz: m[1], addr: freeAddress(t), dir: t.TempDir(), token: token, allowed: deployedAllowed}
	host, _, err := net.SplitHostPort(g.addr)
	if err != nil {
		t.Fatal(err)
	}
	g.cert, g.key, g.roots = newCertificate(t, g.dir, gatewayName, host)
	return g
}

// newCertificate writes a certificate for names and addresses that is its own authority,
// and its key.
func newCertificate(t *testing.T, dir string, names ...string) (cert, key string, roots *x509.CertPool) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(time.Hour),
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	cert, key, roots = filepath.Join(dir, "gateway.pem"), filepath.Join(dir, "gateway-key.pem"), x509.NewCertPool()
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	writeFile(t, cert, certPEM)
	writeFile(t, key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw}))
	roots.AppendCertsFromPEM(certPEM)
	return cert, key, roots
}

// deployed returns a file of deploy/ with each old text in the place of the new
// one. All must be in it.
func deployed(t *testing.T, path string, oldnew ...string) string {
	t.Helper()
	content := readFile(t, filepath.Join("..", "deploy", path))
	for i := 0; i < len(oldnew); i += 2 {
		if !strings.Contains(content, oldnew[i]) {
			t.Fatalf("deploy/%s does not have %q", path, oldnew[i])
		}
		content = strings.ReplaceAll(content, oldnew[i], oldnew[i+1])
	}
	return content
}

// upstreamCA is the file of the authority that vouches for the stand-in.
func (g *gateway) upstreamCA() string {
	return filepath.Join(filepath.Dir(g.fixture.config), "upstream-ca.pem")
}

// start runs the gateway's program, and waits until it listens.
func (g *gateway) start(t *testing.T, program string, args ...string) {
	t.Helper()
	var output bytes.Buffer
	cmd := exec.Command(program, args...)
	cmd.Env, cmd.Dir = append(baseEnv(t), g.env...), g.dir
	cmd.Stdout, cmd.Stderr = &output, &output
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait() // killed in the end
	}()
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		<-ended
		g.fixture.checkNoSecret(t, "the log of the gateway", output.String())
		if t.Failed() {
			t.Logf("%s:\n%s", program, output.String())
		}
	})
	eventually(t, "the gateway to listen", func() bool {
		select {
		case <-ended:
			t.Fatalf("%s ended", program)
		default:
		}
		conn, err := net.Dial("tcp", g.addr)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
}

// client returns a client of the gateway that speaks HTTP/1.1 or HTTP/2, and
// comes from an address of its own.
func (g *gateway) client(t *testing.T, proto, from string) *http.Client {
	t.Helper()
	protocols := new(http.Protocols)
	protocols.SetHTTP1(proto == "h1")
	protocols.SetHTTP2(proto == "h2")
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	transport := &http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, network, g.addr)
		},
		TLSClientConfig:    &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: g.roots, ServerName: gatewayName},
		Protocols:          protocols,
		DisableCompression: true,
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: clientTimeout}
}

// ask sends a request to the gateway, with credentials of the client's own.
func (g *gateway) ask(t *testing.T, c *http.Client, method, path string, body io.Reader, headers ...string) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, "https://"+gatewayName+path, body)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer the-clients-own")
	r.Header.Set("ChatGPT-Account-ID", "the-clients-own")
	r.Header.Set("X-OpenAI-Fedramp", "the-clients-own")
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	response, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { response.Body.Close() })
	return response
}

func bodyOf(t *testing.T, r *http.Response) string {
	t.Helper()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// checkClean fails the test if something reached the backend that is none of its
// business: what the client had for a credential, and what gateway and
// agentproxy say to each other.
func (g *gateway) checkClean(t *testing.T, requests []chatgpttest.Request) {
	t.Helper()
	for _, r := range requests {
		for name, values := range r.Header {
			for _, value := range values {
				if strings.Contains(value, "the-clients-own") || strings.Contains(value, g.token) {
					t.Errorf("%s %s reached the backend with %s: %s", r.Method, r.Path, name, value)
				}
			}
		}
	}
}

// tasks returns the tasks that requests were signed for.
func tasks(requests []chatgpttest.Request) (ids []string) {
	for _, r := range requests {
		ids = append(ids, r.Auth.TaskID)
	}
	return ids
}

// behaves has a gateway do all that it must. start is given the gateway to run, which
// tells a session label in the field label.
func behaves(t *testing.T, label string, start func(t *testing.T, g *gateway)) {
	newGateway := func(t *testing.T, c fixtureConfig) *gateway { return newLabelledGateway(t, c, label) }
	t.Run("signs", func(t *testing.T) {
		t.Parallel()
		g := newGateway(t, fixtureConfig{})
		start(t, g)
		for _, proto := range []string{"h1", "h2"} {
			t.Run(proto, func(t *testing.T) { g.signs(t, proto) })
		}
		t.Run("labels", g.keepsLabelsApart)
		t.Run("WebSocket", g.passesWebSockets)
	})
	t.Run("keeps to the scope", func(t *testing.T) {
		t.Parallel()
		g := newGateway(t, fixtureConfig{scope: defaultScope})
		start(t, g)
		g.keepsToScope(t)
	})
	t.Run("turns strangers away", func(t *testing.T) {
		t.Parallel()
		g := newGateway(t, fixtureConfig{})
		g.allowed = "127.0.0.2/32"
		start(t, g)
		g.turnsStrangersAway(t)
	})
	t.Run("leaves credentials out", func(t *testing.T) {
		t.Parallel()
		g := newGateway(t, fixtureConfig{yaml: "signer: {rules: [{path: /backend-api/test/echo, use: none}, {path: /backend-api/test/upload, use: client}]}"})
		start(t, g)
		for _, proto := range []string{"h1", "h2"} {
			t.Run(proto, func(t *testing.T) { g.replacesCredentials(t, proto) })
		}
	})
	t.Run("signs with a token", func(t *testing.T) {
		t.Parallel()
		g := newGateway(t, fixtureConfig{yaml: "signer: {use: bearer}"})
		start(t, g)
		response := g.ask(t, g.client(t, "h2", "127.0.0.1"), "GET", "/backend-api/test/echo", nil)
		if body := bodyOf(t, response); response.StatusCode != 200 {
			t.Errorf("%s %s", response.Status, body)
		}
		g.checkClean(t, g.fixture.checkSigned(t, chatgpttest.SchemeBearer))
	})
	t.Run("refuses", func(t *testing.T) {
		t.Parallel()
		g := newGateway(t, fixtureConfig{yaml: "signer: {use: token, token_file: /no/such/token}"})
		start(t, g)
		for _, proto := range []string{"h1", "h2"} {
			response := g.ask(t, g.client(t, proto, "127.0.0.1"), "POST", "/backend-api/test/upload", strings.NewReader("a secret plan"))
			if body := bodyOf(t, response); response.StatusCode != 503 || !strings.Contains(body, `"code":"token_missing"`) {
				t.Errorf("%s: %s %s", proto, response.Status, body)
			}
		}
		if got := g.fixture.backend.Requests(); len(got) > 0 {
			t.Errorf("%d requests reached the backend", len(got))
		}
	})
	t.Run("refuses when nobody answers", func(t *testing.T) {
		t.Parallel()
		g := newGateway(t, fixtureConfig{})
		g.authz = freeAddress(t)
		start(t, g)
		response := g.ask(t, g.client(t, "h1", "127.0.0.1"), "GET", "/backend-api/test/echo", nil)
		if bodyOf(t, response); response.StatusCode < 500 {
			t.Errorf("%s", response.Status)
		}
		if got := g.fixture.backend.Requests(); len(got) > 0 {
			t.Errorf("%d requests reached the backend", len(got))
		}
	})
	t.Run("refuses with another token", func(t *testing.T) {
		t.Parallel()
		g := newGateway(t, fixtureConfig{})
		g.token = "another-token"
		start(t, g)
		// The client knows the token, but it is the gateway that must.
		response := g.ask(t, g.client(t, "h1", "127.0.0.1"), "GET", "/backend-api/test/echo", nil, "X-Agentproxy-Token", "a-token-that-gateways-show")
		if body := bodyOf(t, response); response.StatusCode < 400 || strings.Contains(body, "AgentAssertion") {
			t.Errorf("%s %s", response.Status, body)
		}
		if got := g.fixture.backend.Requests(); len(got) > 0 {
			t.Errorf("%d requests reached the backend", len(got))
		}
	})
}

// signs sends requests of all kinds through the gateway.
func (g *gateway) signs(t *testing.T, proto string) {
	g.fixture.backend.ResetRequests()
	c := g.client(t, proto, "127.0.0.1")

	// Path and query arrive as they were sent, and what a client says about
	// itself or another request changes nothing.
	const uri = "/backend-api/test/echo?a=%2F&b=c%20d"
	response := g.ask(t, c, "GET", uri, nil,
		"X-Original-URI", "/other", "X-Forwarded-Uri", "/other", "X-Original-Method", "PUT", "X-Forwarded-Method", "PUT",
		"X-Forwarded-Host", "example.org", "X-Agentproxy-Label", "admin", "X-Agentproxy-Token", "guess")
	if body := bodyOf(t, response); response.StatusCode != 200 || !strings.Contains(body, `"uri":"`+strings.ReplaceAll(uri, "&", `\u0026`)+`"`) {
		t.Errorf("%s %s", response.Status, body)
	}

	content := bytes.Repeat([]byte("0123456789abcdef"), 1<<16) // 1 MiB
	// Not a reader whose length is known: it goes in chunks.
	response = g.ask(t, c, "POST", "/backend-api/test/upload", io.MultiReader(bytes.NewReader(content)))
	if body := bodyOf(t, response); response.StatusCode != 200 || !strings.Contains(body, uploaded(content)) {
		t.Errorf("upload: %s %s", response.Status, body)
	}

	g.streams(t, c)
	g.uploads(t, c)
	requests := g.fixture.checkSigned(t, chatgpttest.SchemeAgentAssertion)
	g.checkClean(t, requests)
	if len(requests) != 5 {
		t.Errorf("%d requests reached the backend, want 5", len(requests))
	}
	for _, r := range requests {
		if r.Host != "chatgpt.com" || r.TLSServerName != "chatgpt.com" {
			t.Errorf("the backend was asked for host %s, server name %s", r.Host, r.TLSServerName)
		}
	}
}

// uploads sends the second half of a body when the first has reached the
// backend.
func (g *gateway) uploads(t *testing.T, c *http.Client) {
	t.Helper()
	half := bytes.Repeat([]byte("half"), 1<<14)
	body, send := io.Pipe()
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		_, _ = send.Write(half)
		for end := time.Now().Add(rawTimeout); time.Now().Before(end); {
			received := g.fixture.backend.Requests()
			if n := len(received); n > 0 && received[n-1].BodyBytes >= int64(len(half)) {
				_, _ = send.Write(half)
				_ = send.Close()
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
		_ = send.CloseWithError(errors.New("the first half did not arrive by itself"))
	}()
	response := g.ask(t, c, "PUT", "/backend-api/test/upload", body)
	if got := bodyOf(t, response); !strings.Contains(got, uploaded(append(half, half...))) {
		t.Errorf("upload in two halves: %s %s", response.Status, got)
	}
	<-sent
}

// streams reads the first line of answers that go on for an hour: it comes
// because nothing waits in the gateway, whatever the answer's type.
func (g *gateway) streams(t *testing.T, c *http.Client) {
	t.Helper()
	for path, want := range map[string]string{"sse": "id: 0\n", "ndjson": "{\"i\":0}\n"} {
		ctx, cancel := context.WithCancel(t.Context())
		r, err := http.NewRequestWithContext(ctx, "GET", "https://"+gatewayName+"/backend-api/test/"+path+"?n=2&interval_ms=3600000", nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := c.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		if line, err := bufio.NewReader(response.Body).ReadString('\n'); err != nil || line != want {
			t.Errorf("%s: %q, %v", path, line, err)
		}
		cancel()
		response.Body.Close()
	}
}

// keepsLabelsApart has clients of two addresses get tasks of their own, each the
// same one again.
func (g *gateway) keepsLabelsApart(t *testing.T) {
	g.fixture.backend.ResetRequests()
	for range 2 {
		for _, from := range []string{"127.0.0.2", "127.0.0.3"} {
			response := g.ask(t, g.client(t, "h2", from), "GET", "/backend-api/test/echo", nil,
				"X-Agentproxy-Label", "127.0.0.3", "X-Forwarded-For", "127.0.0.3", "X-Real-Ip", "127.0.0.3", "Forwarded", "for=127.0.0.3")
			if body := bodyOf(t, response); response.StatusCode != 200 {
				t.Fatalf("%s %s", response.Status, body)
			}
		}
	}
	got := tasks(g.fixture.checkSigned(t, chatgpttest.SchemeAgentAssertion))
	if len(got) != 4 || got[0] == got[1] || got[0] != got[2] || got[1] != got[3] {
		t.Errorf("the tasks were %q", got)
	}
}

// passesWebSockets has a WebSocket go through, signed like any request.
func (g *gateway) passesWebSockets(t *testing.T) {
	g.fixture.backend.ResetRequests()
	ctx, cancel := context.WithTimeout(t.Context(), rawTimeout)
	defer cancel()
	conn, _, err := websocket.Dial(ctx, "wss://"+gatewayName+"/backend-api/test/ws-echo", &websocket.DialOptions{
		HTTPClient: g.client(t, "h1", "127.0.0.1"),
		HTTPHeader: http.Header{"Authorization": {"Bearer the-clients-own"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.CloseNow()
	for _, message := range []string{"grüezi", strings.Repeat("agent", 1<<12)} {
		if err := conn.Write(ctx, websocket.MessageText, []byte(message)); err != nil {
			t.Fatal(err)
		}
		if _, got, err := conn.Read(ctx); err != nil || string(got) != message {
			t.Errorf("%.20q of %d bytes came back, %v", got, len(got), err)
		}
	}
	if err := closeSocket(conn, websocket.StatusNormalClosure, ""); err != nil {
		t.Error(err)
	}
	g.checkClean(t, g.fixture.checkSigned(t, chatgpttest.SchemeAgentAssertion))
}
