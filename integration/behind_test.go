//go:build linux

package integration

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/agentproxy/agentproxy/integration/chatgpttest"
)

// The tests of this file are about what clients have run into behind proxies, and
// docs/compatibility.md names them.

// TestConnectionHeaderKeepsCredential has clients declare the credential's
// headers to be of the connection only, which proxies drop.
func TestConnectionHeaderKeepsCredential(t *testing.T) {
	t.Parallel()
	p := serveUsual(t)
	for _, header := range []string{
		"Connection: Authorization",
		"Connection: close, authorization, ChatGPT-Account-ID",
		"Connection: keep-alive\r\nConnection: Authorization\r\nAuthorization: Bearer mine",
		"Proxy-Connection: Authorization\r\nTE: trailers\r\nConnection: TE, Authorization",
	} {
		p.fixture.backend.ResetRequests()
		conn := p.tunnel(t, "chatgpt.com", "chatgpt.com", "http/1.1")
		if a := askHTTP1(t, conn, lines(getEcho, "Host: chatgpt.com", header)); a.status != http.StatusOK {
			t.Errorf("%q: status %d\n%s", header, a.status, a.body)
		}
		p.fixture.checkSigned(t, chatgpttest.SchemeAgentAssertion)
	}
}

// clientOver returns a client that talks HTTP/1.1 or HTTP/2 with p.
func (p *proxy) clientOver(t *testing.T, major int) *http.Client {
	t.Helper()
	client := p.client(t, "")
	protocols := new(http.Protocols)
	protocols.SetHTTP1(major == 1)
	protocols.SetHTTP2(major == 2)
	client.Transport.(*http.Transport).Protocols = protocols
	return client
}

// TestStreamsAreNotHeldBack has a server that sends a piece only when the client
// has read the one before it: a proxy that waits for more waits for ever.
func TestStreamsAreNotHeldBack(t *testing.T) {
	t.Parallel()
	const pieces = 5
	read := make(chan struct{})
	p := serveHandler(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		const piece = "data: {}\n\n"
		w.Header()["Content-Type"] = r.Header["Accept"]
		if r.URL.Path == "/backend-api/stream/known" {
			w.Header().Set("Content-Length", strconv.Itoa(pieces*len(piece)))
		}
		for range pieces {
			_, _ = io.WriteString(w, piece)
			_ = http.NewResponseController(w).Flush()
			select {
			case <-read:
			case <-r.Context().Done():
				return
			}
		}
	}))
	for major := range 2 {
		client := p.clientOver(t, major+1)
		for i, contentType := range []string{"text/event-stream", "application/x-ndjson", "application/json", "text/plain; charset=utf-8", "application/octet-stream"} {
			length := []string{"known", "unknown"}[i%2]
			request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, backendAPI+"/stream/"+length, nil)
			if err != nil {
				t.Fatal(err)
			}
			request.Header.Set("Accept", contentType)
			response, err := client.Do(request)
			if err != nil {
				t.Fatal(err)
			}
			body := bufio.NewReader(response.Body)
			for range pieces {
				for range 2 {
					if _, err := body.ReadString('\n'); err != nil {
						t.Fatalf("%s: %v", contentType, err)
					}
				}
				read <- struct{}{}
			}
			if rest, err := io.ReadAll(body); len(rest) > 0 || err != nil {
				t.Errorf("%s: %q, %v at the end", contentType, rest, err)
			}
			response.Body.Close()
		}
	}
}

// TestNoDeadlineOnLiveExchange has everything take longer than the limits: the
// first byte, the pauses of an answer, those of an upload, and those of a tunnel.
func TestNoDeadlineOnLiveExchange(t *testing.T) {
	t.Parallel()
	const limit, pause = "10s", 12 * time.Second
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	group.Go(func() {
		conn, err := server.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		line, _ := bufio.NewReader(conn).ReadString('\n')
		time.Sleep(pause)
		_, _ = io.WriteString(conn, line)
	})
	t.Cleanup(func() {
		server.Close()
		group.Wait()
	})
	f := newFixture(t, fixtureConfig{yaml: "limits: {handshake_timeout: " + limit + ", idle_timeout: " + limit + "}"}).edit(t,
		"other_hosts: refuse", `other_hosts: ["tunnel.example:7"]`,
		"  connect_to:\n", fmt.Sprintf("  connect_to:\n    \"tunnel.example:7\": %q\n", server.Addr()))
	f.backend.Inject(chatgpttest.Fault{Path: "/backend-api/test/bytes", Delay: pause})
	p := f.serve(t)
	var slow sync.WaitGroup
	check := func(client *http.Client, method, url string, body io.Reader, want string) {
		slow.Go(func() {
			request, err := http.NewRequestWithContext(t.Context(), method, backendAPI+url, body)
			if err != nil {
				t.Error(err)
				return
			}
			response, err := client.Do(request)
			if err != nil {
				t.Errorf("%s: %v", url, err)
				return
			}
			defer response.Body.Close()
			answer, err := io.ReadAll(response.Body)
			if err != nil || response.StatusCode != http.StatusOK || !strings.Contains(string(answer), want) {
				t.Errorf("%s: %s, %q, %v; want %s", url, response.Status, answer, err, want)
			}
		})
	}
	for major := range 2 {
		client := p.clientOver(t, major+1)
		check(client, http.MethodGet, "/test/bytes?n=3", nil, "abc")
		check(client, http.MethodGet, fmt.Sprintf("/test/sse?n=3&interval_ms=%d", pause.Milliseconds()), nil, "id: 2")
		check(client, http.MethodPost, "/test/upload", &slowReader{pieces: []string{"one", "two"}, pause: pause}, uploaded([]byte("onetwo")))
	}
	conn, answer := p.connect(t, "tunnel.example:7", "tunnel.example:7")
	if answer.status != http.StatusOK {
		t.Error(answer.status, answer.body)
	}
	time.Sleep(pause)
	writeString(t, conn, "hello\n")
	if said, err := io.ReadAll(conn); string(said) != "hello\n" || err != nil {
		t.Errorf("tunnel: %q, %v", said, err)
	}
	slow.Wait()
}

// slowReader pauses before each of its pieces.
type slowReader struct {
	pieces []string
	pause  time.Duration
}

func (r *slowReader) Read(b []byte) (int, error) {
	if len(r.pieces) == 0 {
		return 0, io.EOF
	}
	time.Sleep(r.pause)
	n := copy(b, r.pieces[0])
	r.pieces = r.pieces[1:]
	return n, nil
}

// TestNothingAfterConnectIsLost sends the first bytes together with the CONNECT,
// and has a server speak first.
func TestNothingAfterConnectIsLost(t *testing.T) {
	t.Parallel()
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	group.Go(func() {
		conn, err := server.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "server first\n")
		_, _ = io.Copy(conn, conn)
	})
	t.Cleanup(func() {
		server.Close()
		group.Wait()
	})
	p := newFixture(t, fixtureConfig{}).edit(t,
		"other_hosts: refuse", `other_hosts: ["tunnel.example:7"]`,
		"  connect_to:\n", fmt.Sprintf("  connect_to:\n    \"tunnel.example:7\": %q\n", server.Addr())).serve(t)

	tunnel := dialTCP(t, p.addr)
	writeString(t, tunnel, lines("CONNECT tunnel.example:7 HTTP/1.1", "Host: tunnel.example:7")+"client first\n")
	if err := tunnel.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(tunnel)
	if _, said, _ := strings.Cut(string(got), "\r\n\r\n"); err != nil || said != "server first\nclient first\n" {
		t.Errorf("received %q, %v", got, err)
	}

	// The hello of a TLS handshake, in one piece with the CONNECT.
	together := &firstWith{Conn: dialTCP(t, p.addr), first: lines("CONNECT chatgpt.com:443 HTTP/1.1", "Host: chatgpt.com:443")}
	conn := p.secure(t, together, "chatgpt.com", "chatgpt.com", "http/1.1")
	if a := askHTTP1(t, conn, lines(getEcho, "Host: chatgpt.com")); a.status != http.StatusOK {
		t.Errorf("status %d\n%s", a.status, a.body)
	}
	p.fixture.checkSigned(t, chatgpttest.SchemeAgentAssertion)
}

// TestBundleKeepsSystemRoots has the variables' one bundle do for both: a host
// that is tunnelled, whose certificate the system trusts, and an intercepted one.
func TestBundleKeepsSystemRoots(t *testing.T) {
	t.Parallel()
	outside, err := chatgpttest.NewServerWith(chatgpttest.Config{Hosts: []string{"outside.example"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(outside.Close)
	f := newFixture(t, fixtureConfig{}).edit(t,
		"other_hosts: refuse", "other_hosts: [outside.example]",
		"  connect_to:\n", fmt.Sprintf("  connect_to:\n    \"outside.example:443\": %q\n", outside.Addr()))
	// What Go takes for the system's roots.
	system := filepath.Join(filepath.Dir(f.config), "system.pem")
	writeFile(t, system, outside.CertPEM())
	r := run(t, append(baseEnv(t), "SSL_CERT_FILE="+system), agentproxy, f.runArgs("sh", "-c",
		"curl -sS https://outside.example/backend-api/test/echo && curl -sS "+backendAPI+"/test/echo")...)
	if r.code != 0 {
		t.Errorf("exit code %d\n%s", r.code, r.stderr)
	}
	if n := len(outside.Requests()); n != 1 {
		t.Errorf("%d requests reached the tunnelled host, want 1", n)
	}
	for _, request := range outside.Requests() {
		if request.Header.Get("Authorization") != "" {
			t.Error("a tunnelled host got a credential")
		}
	}
	f.checkSigned(t, chatgpttest.SchemeAgentAssertion)
}

// TestInheritedVariablesDoNotWin starts run where the variables lead elsewhere
// already, in both cases.
func TestInheritedVariablesDoNotWin(t *testing.T) {
	t.Parallel()
	f := newFixture(t, fixtureConfig{})
	environ := baseEnv(t)
	for _, name := range []string{"https_proxy", "HTTPS_PROXY", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"} {
		environ = append(environ, name+"=http://127.0.0.1:1")
	}
	for _, name := range []string{"no_proxy", "NO_PROXY"} {
		environ = append(environ, name+"=chatgpt.com,.openai.com")
	}
	for _, name := range []string{"CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "CODEX_CA_CERTIFICATE"} {
		environ = append(environ, name+"=/nonexistent")
	}
	python, err := filepath.Abs(filepath.Join("testdata", "urllib_client.py"))
	if err != nil {
		t.Fatal(err)
	}
	for _, client := range []string{"curl -sSf " + backendAPI + "/test/echo", "python3 " + python + " get " + backendAPI + "/test/echo"} {
		f.backend.ResetRequests()
		r := run(t, environ, agentproxy, f.runArgs("sh", "-c", client)...)
		if r.code != 0 {
			t.Errorf("%s: exit code %d\n%s", client, r.code, r.stderr)
		}
		f.checkSigned(t, chatgpttest.SchemeAgentAssertion)
	}
}

// TestProcessesRefreshOnce has many processes share a log-in whose access token
// has expired: the refresh token, which is good for one use, is used once.
func TestProcessesRefreshOnce(t *testing.T) {
	t.Parallel()
	f := newFixture(t, fixtureConfig{yaml: "signer: {use: bearer}"}).edit(t, "identity: {", "identity: {register: false, ")
	f.backend.SetClockOffset(-20 * 24 * time.Hour)
	f.login = f.backend.Login(chatgpttest.Account{})
	f.logIn(t, f.login)
	f.backend.SetClockOffset(0)
	var group sync.WaitGroup
	for range 6 {
		cmd := command(t, baseEnv(t), agentproxy, f.runArgs("curl", "-sSf", backendAPI+"/test/echo")...)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		group.Go(func() {
			if err := cmd.Run(); err != nil {
				t.Errorf("%v\n%s", err, stderr.String())
			}
		})
	}
	group.Wait()
	if n := f.backend.Stats().Refreshes; n != 1 {
		t.Errorf("refreshed %d times, want once", n)
	}
	if n := f.backend.Count("/backend-api/test/echo"); n != 6 {
		t.Errorf("%d requests reached the backend, want 6", n)
	}
}

// TestDeadConnectionsAreReplaced kills the connections to the backend while
// nothing is asked: the next requests notice nothing.
func TestDeadConnectionsAreReplaced(t *testing.T) {
	t.Parallel()
	f := newFixture(t, fixtureConfig{})
	r := newRelay(t, f.backend)
	p := f.edit(t, f.backend.Addr(), r.Addr()).serve(t)
	for major := range 2 {
		client := p.clientOver(t, major+1)
		for range 5 {
			mustAsk(t, client, http.StatusOK)
			open := p.holds(t).descriptors
			r.reset()
			if major+1 == 2 { // over HTTP/1.1 it looks when it needs the connection
				eventually(t, "the proxy to see it", func() bool { return p.holds(t).descriptors < open })
			}
		}
	}
}

// TestSilentConnectionIsFoundOut has the connection to the backend swallow
// everything from one moment on, as after a laptop's sleep or a NAT box's
// forgetting. Pings find that out, and others are opened.
func TestSilentConnectionIsFoundOut(t *testing.T) {
	t.Parallel()
	f := newFixture(t, fixtureConfig{})
	r := newRelay(t, f.backend)
	p := f.edit(t, f.backend.Addr(), r.Addr()).serve(t)
	client := p.client(t, "")
	mustAsk(t, client, http.StatusOK)
	r.forget()
	if status, err := ask(client, []byte("hello")); err != nil || status != http.StatusOK && status != http.StatusBadGateway {
		t.Errorf("status %d, %v; want an answer", status, err)
	}
	mustAsk(t, client, http.StatusOK)
}

// TestPlaceholderIsNotForwarded has clients send a placeholder where the proxy
// has nothing to put in its place, and where the server refuses what it put.
func TestPlaceholderIsNotForwarded(t *testing.T) {
	t.Parallel()
	f := newFixture(t, fixtureConfig{yaml: "signer: {on_failure: refuse}"})
	auth := filepath.Join(f.codexHome, "auth.json")
	if err := os.Remove(auth); err != nil {
		t.Fatal(err)
	}
	p := f.serve(t)
	placeholder := []string{"-H", "Authorization: Bearer agentproxy-placeholder", "-H", "ChatGPT-Account-ID: account-123"}
	r := curl(t, p.env, append(placeholder, backendAPI+"/test/echo")...)
	if r.Code != http.StatusServiceUnavailable {
		t.Errorf("status %d, want 503\n%s", r.Code, r.body)
	}
	f.checkNothingArrived(t)
	f.backend.Inject(chatgpttest.Fault{Path: "/backend-api/test/echo", Status: http.StatusUnauthorized})
	writeFile(t, auth, f.login.AuthJSONWithIdentity("C"))
	eventually(t, "the log-in to be seen", func() bool {
		return curl(t, p.env, append(placeholder, backendAPI+"/test/echo")...).Code == http.StatusUnauthorized
	})
	for _, request := range f.backend.Requests() {
		if strings.Contains(request.Header.Get("Authorization"), "placeholder") {
			t.Errorf("%s %s came with the placeholder", request.Method, request.Path)
		}
	}
}

// TestConnectionsAndLeavesAreReused opens many tunnels: the certificate and the
// connection to the backend are made once, the key of certificates too.
func TestConnectionsAndLeavesAreReused(t *testing.T) {
	t.Parallel()
	p := serveUsual(t)
	seen := map[string]bool{}
	for _, protocol := range []string{"http/1.1", "h2"} {
		p.fixture.backend.ResetRequests()
		for range 20 {
			conn := p.tunnel(t, "chatgpt.com", "chatgpt.com", protocol)
			seen[string(conn.ConnectionState().PeerCertificates[0].Raw)] = true
			var a rawAnswer
			if protocol == "h2" {
				a = askHTTP2(t, conn, fields(":authority", "chatgpt.com"))
			} else {
				a = askHTTP1(t, conn, lines(getEcho, "Host: chatgpt.com"))
			}
			if a.status != http.StatusOK {
				t.Fatal(a.status, a.body)
			}
			conn.Close()
		}
		from := map[string]bool{}
		for _, r := range p.fixture.checkSigned(t, chatgpttest.SchemeAgentAssertion) {
			from[r.RemoteAddr] = true
		}
		if len(from) != 1 {
			t.Errorf("20 requests over %s reached the backend over %d connections, want 1", protocol, len(from))
		}
	}
	if len(seen) != 1 {
		t.Errorf("%d certificates were issued for one host", len(seen))
	}
	keys := map[string]bool{}
	for _, host := range []string{"chatgpt.com", "api.chatgpt.com", "chat.openai.com"} {
		conn := p.tunnel(t, host, host, "http/1.1")
		keys[string(conn.ConnectionState().PeerCertificates[0].RawSubjectPublicKeyInfo)] = true
		conn.Close()
	}
	if len(keys) != 1 {
		t.Errorf("%d keys were made", len(keys))
	}
}

// TestTunnelsAreDrained has SIGTERM wait for tunnels that end, and a second one
// cut a tunnel that does not.
func TestTunnelsAreDrained(t *testing.T) {
	t.Parallel()
	server := newEchoServer(t)
	f := newFixture(t, fixtureConfig{}).edit(t,
		"other_hosts: refuse", `other_hosts: ["tunnel.example:7"]`,
		"  connect_to:\n", fmt.Sprintf("  connect_to:\n    \"tunnel.example:7\": %q\n", server))
	f.adminOn(t)
	t.Run("serve", func(t *testing.T) {
		p := f.serve(t)
		before := p.holds(t)
		for range 100 { // that end by themselves
			conn, answer := p.connect(t, "tunnel.example:7", "tunnel.example:7")
			if answer.status != http.StatusOK {
				t.Fatal(answer.status, answer.body)
			}
			conn.Close()
		}
		// The Go runtime keeps pipes for the next tunnels.
		p.returnsTo(t, before, held{descriptors: 60, goroutines: 10, kilobytes: 32 << 10}, rawTimeout)

		var conns []net.Conn
		for range 20 {
			conn, answer := p.connect(t, "tunnel.example:7", "tunnel.example:7")
			if answer.status != http.StatusOK {
				t.Fatal(answer.status, answer.body)
			}
			conns = append(conns, conn)
		}
		if err := p.process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
		eventually(t, "new connections to be refused", func() bool {
			conn, err := net.Dial("tcp", p.addr)
			if err == nil {
				conn.Close()
			}
			return err != nil
		})
		for _, conn := range conns[1:] {
			writeString(t, conn, "hello")
			if got, err := io.ReadAll(io.LimitReader(conn, 5)); string(got) != "hello" || err != nil {
				t.Errorf("a tunnel was cut by the drain: %q, %v", got, err)
			}
			conn.Close()
		}
		// The test's end sends the second signal, and has it end at once and well.
	})
}

// dialTCP connects to an address of this machine.
func dialTCP(t *testing.T, address string) *net.TCPConn {
	t.Helper()
	conn, err := net.DialTimeout("tcp", address, rawTimeout)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(rawTimeout)); err != nil {
		t.Fatal(err)
	}
	return conn.(*net.TCPConn)
}

// newEchoServer starts a server that sends everything back, and returns its
// address.
func newEchoServer(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var group sync.WaitGroup
	group.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			group.Go(func() {
				defer context.AfterFunc(ctx, func() { conn.Close() })()
				defer conn.Close()
				_, _ = io.Copy(conn, conn)
			})
		}
	})
	t.Cleanup(func() {
		stop()
		l.Close()
		group.Wait()
	})
	return l.Addr().String()
}

// firstWith sends what is first in one piece with the first bytes that are
// written, and drops the answer to it: a header.
type firstWith struct {
	net.Conn
	first  string
	answer *bufio.Reader
}

func (c *firstWith) Write(b []byte) (int, error) {
	first := c.first
	c.first = ""
	n, err := c.Conn.Write(append([]byte(first), b...))
	return n - len(first), err
}

func (c *firstWith) Read(b []byte) (int, error) {
	if c.answer == nil {
		c.answer = bufio.NewReader(c.Conn)
		for line := ""; line != "\r\n"; {
			var err error
			if line, err = c.answer.ReadString('\n'); err != nil {
				return 0, err
			}
		}
	}
	return c.answer.Read(b)
}
