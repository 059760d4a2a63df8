//go:build linux

package integration

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/agentproxy/agentproxy/integration/chatgpttest"
)

// nobody is a user that has nothing to do with the proxy.
const nobody = 65534

// curlAs runs curl as another user, who can read nothing of the proxy's but a
// copy of its CA. It must be root who does so.
func (p *proxy) curlAs(t *testing.T, uid uint32, args ...string) curlResult {
	t.Helper()
	dir, err := os.MkdirTemp("", "agentproxy-entry-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	ca, body, header := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "body"), filepath.Join(dir, "header")
	writeFile(t, ca, []byte(readFile(t, p.ca)))
	if err := os.Chmod(ca, 0o644); err != nil {
		t.Fatal(err)
	}
	args = append([]string{"-sS", "-o", body, "-D", header, "-w", "%{json}", "--cacert", ca, "--proxy", "http://" + p.addr, "--noproxy", ""}, args...)
	cmd := command(t, []string{"PATH=" + systemPath, "HOME=" + dir}, systemProgram(t, "curl"), args...)
	cmd.Dir = dir
	cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uid, Gid: uid}
	out := runCommand(t, cmd)
	var r curlResult
	if err := json.Unmarshal([]byte(out.stdout), &r); err != nil {
		t.Fatalf("curl: %v\n%s%s", err, out.stdout, out.stderr)
	}
	r.body, r.header, r.stderr = readFile(t, body), lastHeader(readFile(t, header)), out.stderr
	return r
}

// needRoot reports whether a test can start processes of other users. CI runs as
// root.
func needRoot(t *testing.T) bool {
	t.Helper()
	if os.Getuid() != 0 {
		t.Log("not root: that another user is refused cannot be tried")
		return false
	}
	return true
}

// edit changes the configuration before the proxy is started.
func (f *fixture) edit(t *testing.T, oldnew ...string) *fixture {
	t.Helper()
	content := readFile(t, f.config)
	for i := 0; i < len(oldnew); i += 2 {
		if !strings.Contains(content, oldnew[i]) {
			t.Fatalf("the configuration has no %s", oldnew[i])
		}
	}
	writeFile(t, f.config, []byte(strings.NewReplacer(oldnew...).Replace(content)))
	return f
}

// adminOn has the proxy serve its state on a loopback address of the test's own.
func (f *fixture) adminOn(t *testing.T) (address string) {
	t.Helper()
	f.admin = freeAddress(t)
	f.edit(t, `admin: ""`, "admin: "+f.admin)
	return f.admin
}

func (f *fixture) checkNothingArrived(t *testing.T) {
	t.Helper()
	if n := len(f.backend.Requests()); n != 0 {
		t.Errorf("%d requests reached the backend", n)
	}
}

// TestForeignUser has a process of another user of the machine try to borrow the
// account by way of a loopback listener without a token, and to read the proxy's
// state.
func TestForeignUser(t *testing.T) {
	t.Parallel()
	f := newFixture(t, fixtureConfig{})
	admin := f.adminOn(t)
	p := f.serve(t)
	if r := curl(t, p.env, backendAPI+"/test/echo"); r.Code != 200 {
		t.Fatalf("the own user: status %d\n%s%s", r.Code, r.body, r.stderr)
	}
	if r := curl(t, baseEnv(t), "http://"+admin+"/readyz"); r.Code != 200 {
		t.Fatalf("the own user at the admin port: status %d\n%s%s", r.Code, r.body, r.stderr)
	}
	if !needRoot(t) {
		return
	}
	f.backend.ResetRequests()
	for _, label := range []string{"", "label", "label:guess"} {
		r := p.curlAs(t, nobody, "--proxy-user", label, backendAPI+"/test/echo")
		if r.Connect != 403 || r.Code != 0 {
			t.Errorf("CONNECT answered with %d, the request with %d; want 403 and no request\n%s", r.Connect, r.Code, r.stderr)
		}
	}
	r := p.curlAs(t, nobody, "http://chatgpt.com/backend-api/test/echo")
	if r.Code != 403 {
		t.Errorf("plain http: status %d, want 403", r.Code)
	}
	checkRefusal(t, r.body, "foreign_user")
	for _, part := range []string{"user 65534", "clients.allow_uids", "clients.token"} {
		if !strings.Contains(r.body, part) {
			t.Errorf("no %q in %s", part, r.body)
		}
	}
	for _, path := range []string{"/healthz", "/readyz"} {
		r := p.curlAs(t, nobody, "--proxy", "", "http://"+admin+path)
		if r.Code != 403 || !strings.Contains(r.body, "user 65534") {
			t.Errorf("the admin port's %s: status %d, %s; want 403", path, r.Code, r.body)
		}
	}
	f.checkNothingArrived(t)
}

// TestAllowedUser lets another user in.
func TestAllowedUser(t *testing.T) {
	t.Parallel()
	p := newFixture(t, fixtureConfig{yaml: "clients: {allow_uids: [65534]}"}).serve(t)
	if r := curl(t, p.env, backendAPI+"/test/echo"); r.Code != 200 {
		t.Errorf("the own user: status %d\n%s%s", r.Code, r.body, r.stderr)
	}
	if !needRoot(t) {
		return
	}
	if r := p.curlAs(t, nobody, backendAPI+"/test/echo"); r.Code != 200 {
		t.Errorf("the allowed user: status %d\n%s%s", r.Code, r.body, r.stderr)
	}
	p.fixture.checkSigned(t, chatgpttest.SchemeAgentAssertion)
	p.fixture.backend.ResetRequests()
	if r := p.curlAs(t, nobody-1, backendAPI+"/test/echo"); r.Connect != 403 {
		t.Errorf("a third user: CONNECT answered with %d, want 403", r.Connect)
	}
	p.fixture.checkNothingArrived(t)
}

// TestSilentConnections has one user open far more connections than there are places, and
// say nothing. Another user is served meanwhile.
func TestSilentConnections(t *testing.T) {
	t.Parallel()
	p := newFixture(t, fixtureConfig{yaml: "limits: {connections: 8, connections_per_label: 8, handshake_timeout: 10m}\nclients: {allow_uids: [65534]}"}).serve(t)
	for range 40 {
		c, err := net.Dial("tcp", p.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	deadline := time.Now().Add(time.Minute)
	for curl(t, p.env, backendAPI+"/test/echo").Connect != 503 {
		if time.Now().After(deadline) {
			t.Fatal("the user of the silent connections is served")
		}
	}
	if !needRoot(t) {
		return
	}
	if r := p.curlAs(t, nobody, backendAPI+"/test/echo"); r.Code != 200 {
		t.Errorf("another user: status %d, CONNECT answered with %d\n%s%s", r.Code, r.Connect, r.body, r.stderr)
	}
}

// TestTokensFile has a token for each client, one of them known by its hash
// alone. A token is good for its own label, and no longer than it is in the
// file.
func TestTokensFile(t *testing.T) {
	t.Parallel()
	hash, err := bcrypt.GenerateFromPassword([]byte("night-token"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "tokens")
	writeFile(t, file, fmt.Appendf(nil, "# clients\nagentproxy:usual-token\nbuild-42:build-token\nnight:%s\n", hash))
	f := newFixture(t, fixtureConfig{yaml: fmt.Sprintf("clients: {tokens_file: %q}", file)})
	p := f.serve(t)
	tokens := []string{"usual-token", "build-token", "night-token", string(hash)}
	ask := func(user *url.Userinfo) curlResult {
		t.Helper()
		u := url.URL{Scheme: "http", Host: p.addr, User: user}
		return curl(t, p.env, "--proxy", u.String(), backendAPI+"/test/echo")
	}
	taskOf := func(user *url.Userinfo) string {
		t.Helper()
		f.backend.ResetRequests()
		if r := ask(user); r.Code != 200 {
			t.Fatalf("%s: status %d, CONNECT answered with %d\n%s", user.Username(), r.Code, r.Connect, r.stderr)
		}
		requests := f.checkSigned(t, chatgpttest.SchemeAgentAssertion)
		checkNowhere(t, requests, tokens)
		for _, r := range requests {
			if r.Header["Proxy-Authorization"] != nil {
				t.Error("Proxy-Authorization reached the backend")
			}
		}
		return requests[len(requests)-1].Auth.TaskID
	}
	if r := curl(t, p.env, backendAPI+"/test/echo"); r.Code != 200 {
		t.Errorf("what agentproxy env prints: status %d\n%s", r.Code, r.stderr)
	}
	build, night := taskOf(url.UserPassword("build-42", "build-token")), taskOf(url.UserPassword("night", "night-token"))
	if again := taskOf(url.UserPassword("", "build-token")); build == night || again != build {
		t.Errorf("tasks: build-42 has %s, and %s without its name; night has %s", build, again, night)
	}

	f.backend.ResetRequests()
	refused := func(user *url.Userinfo) {
		t.Helper()
		if r := ask(user); r.Connect != 407 || r.Code != 0 {
			t.Errorf("%s: CONNECT answered with %d, the request with %d; want 407 and no request", user, r.Connect, r.Code)
		}
	}
	for _, user := range []*url.Userinfo{
		nil,
		url.UserPassword("build-42", "wrong"),
		url.UserPassword("build-42", "night-token"),
		url.UserPassword("night", "build-token"),
		url.UserPassword("night", string(hash)),
		url.UserPassword("unknown", "build-token"),
		url.UserPassword("", "night-token"),
		url.UserPassword("*", "build-token"),
	} {
		refused(user)
	}

	writeFile(t, file, []byte("agentproxy:usual-token\nnight:other-token\n"))
	eventually(t, "the removed token is refused", func() bool {
		return ask(url.UserPassword("build-42", "build-token")).Connect == 407
	})
	f.checkNothingAfter(t, func() {
		refused(url.UserPassword("build-42", "build-token"))
		refused(url.UserPassword("night", "night-token"))
	})
	taskOf(url.UserPassword("night", "other-token"))
}

func (f *fixture) checkNothingAfter(t *testing.T, act func()) {
	t.Helper()
	f.backend.ResetRequests()
	act()
	f.checkNothingArrived(t)
}

// TestRepeatedProxyAuthorization is of two minds about who asks.
func TestRepeatedProxyAuthorization(t *testing.T) {
	t.Parallel()
	for _, yaml := range []string{"", "clients: {token: sesame}"} {
		p := newFixture(t, fixtureConfig{yaml: yaml}).serve(t)
		conn := p.dialRaw(t, "tcp", p.addr)
		header := "Proxy-Authorization: Basic YTpzZXNhbWU=\r\n" // a:sesame
		answer := askHTTP1(t, conn, "CONNECT chatgpt.com:443 HTTP/1.1\r\nHost: chatgpt.com:443\r\n"+header+header+"\r\n")
		if answer.status != 407 {
			t.Errorf("status %d, want 407", answer.status)
		}
		checkRefusal(t, answer.body, "proxy_auth_required")
		p.fixture.checkNothingArrived(t)
	}
}

func (p *proxy) dialRaw(t *testing.T, network, address string) net.Conn {
	t.Helper()
	conn, err := net.DialTimeout(network, address, rawTimeout)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(rawTimeout)); err != nil {
		t.Fatal(err)
	}
	return conn
}

// TestBrowserPages sends to both ports what a page can have a browser send. The
// proxy does nothing of it, and says nothing that tells what it is.
func TestBrowserPages(t *testing.T) {
	t.Parallel()
	f := newFixture(t, fixtureConfig{})
	admin := f.adminOn(t)
	p := f.serve(t)
	connect := "CONNECT chatgpt.com:443 HTTP/1.1\r\nHost: chatgpt.com:443\r\n\r\n"
	for _, test := range []struct {
		name, address, request string
		status                 int
	}{
		{"a form", p.addr, "POST /backend-api/codex/responses HTTP/1.1\r\nHost: " + p.addr + "\r\nOrigin: https://evil.example\r\nSec-Fetch-Site: cross-site\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\n{}", 400},
		{"a form with a request in it", p.addr, fmt.Sprintf("POST / HTTP/1.1\r\nHost: %s\r\nOrigin: null\r\nContent-Length: %d\r\n\r\n%s", p.addr, len(connect), connect), 400},
		{"a fetch in the name of ChatGPT", p.addr, "GET /backend-api/me HTTP/1.1\r\nHost: chatgpt.com\r\n\r\n", 400},
		{"DNS rebinding", p.addr, "GET / HTTP/1.1\r\nHost: rebound.evil.example:8080\r\n\r\n", 400},
		{"a preflight", p.addr, "OPTIONS / HTTP/1.1\r\nHost: " + p.addr + "\r\nOrigin: https://evil.example\r\nAccess-Control-Request-Method: PUT\r\nAccess-Control-Request-Private-Network: true\r\n\r\n", 400},
		{"a WebSocket", p.addr, "GET / HTTP/1.1\r\nHost: " + p.addr + "\r\nOrigin: https://evil.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n", 400},
		{"a fetch of the admin port", admin, "GET /readyz HTTP/1.1\r\nHost: " + admin + "\r\nOrigin: https://evil.example\r\nSec-Fetch-Site: cross-site\r\n\r\n", 403},
		{"an image of the admin port", admin, "GET /healthz HTTP/1.1\r\nHost: " + admin + "\r\nSec-Fetch-Site: cross-site\r\n\r\n", 403},
		{"a preflight of the admin port", admin, "OPTIONS /readyz HTTP/1.1\r\nHost: " + admin + "\r\nOrigin: http://localhost:3000\r\nAccess-Control-Request-Method: GET\r\n\r\n", 403},
		{"DNS rebinding of the admin port", admin, "GET /readyz HTTP/1.1\r\nHost: rebound.evil.example:9080\r\n\r\n", 421},
	} {
		conn := p.dialRaw(t, "tcp", test.address)
		answer := askHTTP1(t, conn, test.request)
		if answer.status != test.status {
			t.Errorf("%s: status %d, want %d", test.name, answer.status, test.status)
		}
		for _, word := range []string{"agentproxy", "Access-Control-", "Proxy-", f.login.WorkspaceID} {
			if strings.Contains(answer.header+answer.body, word) {
				t.Errorf("%s: the page is told %s:\n%s%s", test.name, word, answer.header, answer.body)
			}
		}
		if test.address == p.addr {
			if rest, err := io.ReadAll(conn); len(rest) > 0 || err != nil {
				t.Errorf("%s: after the refusal came %q, %v; want the end", test.name, rest, err)
			}
		}
	}
	f.checkNothingArrived(t)
}

// TestAdminToken has the admin port ask for a token.
func TestAdminToken(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "token")
	writeFile(t, file, []byte("s3same\n"))
	f := newFixture(t, fixtureConfig{yaml: fmt.Sprintf("admin_token_file: %q", file)})
	admin := f.adminOn(t)
	p := f.serve(t)
	for _, test := range []struct {
		path, authorization string
		want                int
	}{
		{"/readyz", "Bearer s3same", 200},
		{"/readyz", "", 401},
		{"/readyz", "Bearer sesame", 401},
		{"/readyz", "Basic s3same", 401},
		{"/nothing", "", 401},
		{"/healthz", "", 200},
	} {
		r := curl(t, baseEnv(t), "-H", "Authorization: "+test.authorization, "http://"+admin+test.path)
		if r.Code != test.want {
			t.Errorf("%s with %q: status %d, want %d\n%s%s", test.path, test.authorization, r.Code, test.want, r.body, r.stderr)
		}
		if strings.Contains(r.body, "s3same") {
			t.Errorf("the answer holds the token: %s", r.body)
		}
	}
	if needRoot(t) { // the token is what counts
		if r := p.curlAs(t, nobody, "--proxy", "", "-H", "Authorization: Bearer s3same", "http://"+admin+"/readyz"); r.Code != 200 {
			t.Errorf("another user with the token: status %d\n%s%s", r.Code, r.body, r.stderr)
		}
	}
}

// TestSocketListener has clients come over a Unix socket that is the user's own:
// signed requests and tunnels, in which each side may end what it says by
// itself.
func TestSocketListener(t *testing.T) {
	t.Parallel()
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	heard := make(chan string, 1)
	served := make(chan struct{})
	go func() {
		defer close(served)
		conn, err := server.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(rawTimeout))
		said, _ := io.ReadAll(conn) // to the client's half close
		heard <- string(said)
		_, _ = io.WriteString(conn, "and goodbye")
	}()
	t.Cleanup(func() {
		server.Close()
		<-served
	})
	dir, err := os.MkdirTemp("", "agentproxy-entry-") // a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil { // it is the socket that keeps others out
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "proxy.sock")
	p := newFixture(t, fixtureConfig{}).edit(t,
		"listen: 127.0.0.1:0", "listen: unix:"+socket,
		"other_hosts: refuse", "other_hosts: [\"tunnel.example:7\"]",
		"  connect_to:\n", fmt.Sprintf("  connect_to:\n    \"tunnel.example:7\": %q\n", server.Addr()),
	).serve(t)
	info, err := os.Stat(socket)
	if err != nil {
		t.Fatal(err)
	}
	if mode := info.Mode().Perm(); mode != 0o600 {
		t.Errorf("the socket has mode %04o, want 0600", mode)
	}

	dial := func(authority string) net.Conn {
		t.Helper()
		conn := p.dialRaw(t, "unix", socket)
		writeString(t, conn, "CONNECT "+authority+" HTTP/1.1\r\nHost: "+authority+"\r\n\r\n")
		if answer := readAnswer(t, bufio.NewReader(conn), http.MethodConnect); answer.status != http.StatusOK {
			t.Fatalf("CONNECT %s: %d\n%s", authority, answer.status, answer.body)
		}
		return conn
	}
	secured := tls.Client(dial("chatgpt.com:443"), &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: p.roots(t), ServerName: "chatgpt.com"})
	if answer := askHTTP1(t, secured, "GET /backend-api/test/echo HTTP/1.1\r\nHost: chatgpt.com\r\n\r\n"); answer.status != 200 {
		t.Errorf("status %d\n%s", answer.status, answer.body)
	}
	p.fixture.checkSigned(t, chatgpttest.SchemeAgentAssertion)

	tunnel := dial("tunnel.example:7")
	writeString(t, tunnel, "hello")
	if err := tunnel.(*net.UnixConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if answer, err := io.ReadAll(tunnel); string(answer) != "and goodbye" || err != nil {
		t.Errorf("the server's answer arrived as %q, %v", answer, err)
	}
	if said := <-heard; said != "hello" {
		t.Errorf("the server heard %q", said)
	}

	if needRoot(t) {
		if r := p.curlAs(t, nobody, "--proxy", "", "--unix-socket", socket, "http://chatgpt.com/"); r.Exit == 0 {
			t.Errorf("another user has got through the socket: status %d", r.Code)
		}
	}
}
