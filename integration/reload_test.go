//go:build linux

package integration

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/agentproxy/agentproxy/integration/chatgpttest"
)

// The log's words for what came of a reload.
const (
	reloaded  = "configuration reloaded"
	notUsable = "the configuration cannot be used; the former stays in force"
)

// replaceFile puts content in the place of the file at path, as editors do.
func replaceFile(t *testing.T, path, content string) {
	t.Helper()
	writeFile(t, path+".new", []byte(content))
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// reconfigure changes the configuration and waits until it is in force.
func (p *proxy) reconfigure(t *testing.T, oldnew ...string) {
	t.Helper()
	content := readFile(t, p.fixture.config)
	for i := 0; i < len(oldnew); i += 2 {
		if !strings.Contains(content, oldnew[i]) {
			t.Fatalf("the configuration has no %s", oldnew[i])
		}
	}
	p.logs(t, reloaded, func() { replaceFile(t, p.fixture.config, strings.NewReplacer(oldnew...).Replace(content)) })
}

// logs waits until the log has words once more than before act.
func (p *proxy) logs(t *testing.T, words string, act func()) {
	t.Helper()
	before := strings.Count(p.log.String(), words)
	act()
	eventually(t, "the log says: "+words, func() bool { return strings.Count(p.log.String(), words) > before })
}

// hangUpOnce sends SIGHUP.
func (p *proxy) hangUpOnce(t *testing.T) {
	t.Helper()
	if err := p.process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
}

// askKept is mustAsk on a connection that the client has already.
func askKept(t *testing.T, client *http.Client, want int) string {
	t.Helper()
	reused := false
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) { reused = info.Reused }})
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://chatgpt.com/backend-api/test/echo", nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != want {
		t.Fatalf("status %d, %v; want %d\n%s", response.StatusCode, err, want, body)
	}
	if !reused {
		t.Error("another connection was opened")
	}
	return string(body)
}

// TestReloadKeepsStreams reloads a hundred times under a stream, a WebSocket and
// a tunnel.
func TestReloadKeepsStreams(t *testing.T) {
	t.Parallel()
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		if conn, err := server.Accept(); err == nil {
			_, _ = io.Copy(conn, conn)
			conn.Close()
		}
	}()
	t.Cleanup(func() {
		server.Close()
		<-served
	})
	p := newFixture(t, fixtureConfig{yaml: "limits: {connections: 1000, connections_per_label: 1000}"}).edit(t,
		"other_hosts: refuse", "other_hosts: [\"tunnel.example:7\"]",
		"  connect_to:\n", fmt.Sprintf("  connect_to:\n    \"tunnel.example:7\": %q\n", server.Addr()),
	).serve(t)

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	client := p.client(t, "stream")
	client.Timeout = 0
	begun, events := make(chan struct{}), make(chan error, 1)
	const n = 100
	go func() {
		events <- readStream(ctx, client, "stream", n, 50*time.Millisecond, func(i int) error {
			if i == 1 {
				close(begun)
			}
			return nil
		})
	}()
	socketCtx, socket := p.dialWebSocket(t, "/backend-api/test/ws-echo", websocket.CompressionDisabled)
	tunnel := p.dialRaw(t, "tcp", p.addr)
	writeString(t, tunnel, "CONNECT tunnel.example:7 HTTP/1.1\r\nHost: x\r\n\r\n")
	expectRaw(t, tunnel, "HTTP/1.1 200 Connection established\r\n\r\n")
	<-begun

	content := readFile(t, p.fixture.config)
	for i := range n {
		p.logs(t, reloaded, func() {
			replaceFile(t, p.fixture.config, strings.Replace(content, "connections: 1000,", fmt.Sprintf("connections: %d,", 1001+i), 1))
			p.hangUpOnce(t)
		})
		message := fmt.Sprint("message ", i)
		if err := socket.Write(socketCtx, websocket.MessageText, []byte(message)); err != nil {
			t.Fatal(err)
		}
		if _, got, err := socket.Read(socketCtx); err != nil || string(got) != message {
			t.Fatalf("the WebSocket echoed %q, %v", got, err)
		}
		writeString(t, tunnel, message)
		expectRaw(t, tunnel, message)
	}
	if err := <-events; err != nil {
		t.Errorf("the stream: %v", err)
	}
}

func expectRaw(t *testing.T, conn net.Conn, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if n, err := io.ReadFull(conn, got); err != nil || string(got) != want {
		t.Fatalf("read %q, %v; want %q", got[:n], err, want)
	}
}

// TestReloadRefuses keeps the configuration that is in force where the new one
// has a mistake, or changes what cannot change, and says where.
func TestReloadRefuses(t *testing.T) {
	t.Parallel()
	p := serveUsual(t)
	content := readFile(t, p.fixture.config)
	client := p.client(t, "")
	mustAsk(t, client, http.StatusOK)
	for _, test := range []struct{ name, old, new, want string }{
		{"unknown key", "other_hosts: refuse", "other_hots: refuse", "agentproxy.yaml:12: there is no key other_hots"},
		{"bad value", "other_hosts: refuse", "other_hosts: sometimes", `agentproxy.yaml:12: other_hosts: \"sometimes\" is neither`},
		{"half written", "other_hosts: refuse", "other_hosts: [", "agentproxy.yaml:"},
		{"file that is not there", "  ca_file: ", "  ca_file: /nowhere", "agentproxy.yaml:11: upstream.ca_file: /nowhere"},
		{"listener", "listen: 127.0.0.1:0", "listen: 127.0.0.1:1", "agentproxy.yaml:1: listen: it cannot change while the proxy runs; put back what was there, or restart the proxy"},
		{"state directory", "state_dir: ", "state_dir: /else", "agentproxy.yaml:3: state_dir: it cannot change"},
		{"servers' limits", "other_hosts: refuse", "limits: {idle_timeout: 7m}", "agentproxy.yaml:12: limits.idle_timeout: it cannot change"},
		{"host that the CA cannot vouch for", "other_hosts: refuse", "chatgpt: {hosts: [chatgpt.example]}", "agentproxy ca rotate"},
	} {
		p.logs(t, notUsable, func() { replaceFile(t, p.fixture.config, strings.Replace(content, test.old, test.new, 1)) })
		log := p.log.String()
		last := log[strings.LastIndex(log, notUsable)-500:]
		if !strings.Contains(last, test.want) {
			t.Errorf("%s: the log does not say %s:\n%s", test.name, test.want, last)
		}
		askKept(t, client, http.StatusOK)
	}
	// A correction is taken up.
	p.logs(t, reloaded, func() { replaceFile(t, p.fixture.config, content+"retry_body_limit: 0\n") })
	askKept(t, client, http.StatusOK)
	if !strings.Contains(p.log.String(), `"changed":["retry_body_limit"]`) {
		t.Error("the log does not name the key that changed")
	}
}

// TestReloadSigner has the next request of a kept connection signed by another
// signer, and then as another user.
func TestReloadSigner(t *testing.T) {
	t.Parallel()
	f := newFixture(t, fixtureConfig{yaml: "signer: {use: auto}"})
	p := f.serve(t)
	client := p.client(t, "build-42")
	last := func() chatgpttest.AuthResult {
		t.Helper()
		requests := f.backend.Requests()
		return requests[len(requests)-1].Auth
	}
	mustAsk(t, client, http.StatusOK)
	if got := last(); got.Scheme != chatgpttest.SchemeAgentAssertion || !got.OK {
		t.Fatalf("%+v", got)
	}
	p.reconfigure(t, "use: auto", "use: bearer")
	askKept(t, client, http.StatusOK)
	if got := last(); got.Scheme != chatgpttest.SchemeBearer || !got.OK {
		t.Errorf("with bearer: %+v", got)
	}

	other := f.backend.Login(chatgpttest.Account{UserID: "user-456", WorkspaceID: "account-456", Email: "other@example.com"})
	home := filepath.Join(filepath.Dir(f.config), "other-home")
	if err := os.Mkdir(home, 0o700); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(home, "auth.json"), other.AuthJSON())
	p.reconfigure(t, f.codexHome, home)
	askKept(t, client, http.StatusOK)
	if got := last(); got.WorkspaceID != "account-456" || !got.OK {
		t.Errorf("as another user: %+v", got)
	}
}

// TestReloadClients takes a token away, and lets a client go elsewhere.
func TestReloadClients(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "token")
	writeFile(t, file, []byte("sesame"))
	f := newFixture(t, fixtureConfig{yaml: fmt.Sprintf("clients: {token_file: %q}", file)})
	p := f.serve(t)
	client := p.client(t, "")
	mustAsk(t, client, http.StatusOK)

	ask := func(token string, want int) {
		t.Helper()
		if r := curl(t, p.env, "--proxy", "http://a:"+token+"@"+p.addr, backendAPI+"/test/echo"); r.Code != want && r.Connect != want {
			t.Errorf("with %s: status %d, CONNECT answered with %d; want %d", token, r.Code, r.Connect, want)
		}
	}
	ask("sesame", 200)
	p.logs(t, reloaded, func() { replaceFile(t, file, "poppy\n") })
	f.checkNothingAfter(t, func() {
		checkRefusal(t, askKept(t, client, http.StatusForbidden), "no_longer_admitted")
		ask("sesame", 407)
	})
	ask("poppy", 200)

	f.checkNothingAfter(t, func() {
		if r := curl(t, p.env, "--proxy", "http://a:poppy@"+p.addr, "https://other.example/"); r.Connect != 403 {
			t.Errorf("other.example: CONNECT answered with %d", r.Connect)
		}
	})
	p.reconfigure(t, "other_hosts: refuse", "other_hosts: [other.example]", "  connect_to:\n", fmt.Sprintf("  connect_to:\n    \"other.example:443\": %q\n", f.backend.Addr()))
	if r := curl(t, p.env, "--proxy", "http://a:poppy@"+p.addr, "https://other.example/"); r.Connect != 200 {
		t.Errorf("other.example: CONNECT answered with %d", r.Connect)
	}
}

// TestReloadWatches takes up changes of files however they come about.
func TestReloadWatches(t *testing.T) {
	t.Parallel()
	f := newFixture(t, fixtureConfig{yaml: "retry_body_limit: 1000"})
	content := readFile(t, f.config)
	version := 1000
	next := func() string {
		version++
		return strings.Replace(content, "retry_body_limit: 1000", fmt.Sprint("retry_body_limit: ", version), 1)
	}
	// As Kubernetes mounts a ConfigMap: the file is a link into ..data, which is a
	// link to the directory in force.
	dir := t.TempDir()
	deploy := func(name string) {
		t.Helper()
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
		writeFile(t, filepath.Join(dir, name, "agentproxy.yaml"), []byte(next()))
		link := filepath.Join(dir, "..data_tmp")
		if err := os.Symlink(name, link); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(link, filepath.Join(dir, "..data")); err != nil {
			t.Fatal(err)
		}
	}
	deploy("..1")
	f.config = filepath.Join(dir, "agentproxy.yaml")
	if err := os.Symlink(filepath.Join("..data", "agentproxy.yaml"), f.config); err != nil {
		t.Fatal(err)
	}
	p := f.serve(t)
	p.logs(t, reloaded, func() { deploy("..2") })
	p.logs(t, reloaded, func() {
		deploy("..3")
		if err := os.RemoveAll(filepath.Join(dir, "..2")); err != nil {
			t.Fatal(err)
		}
	})
	p.logs(t, reloaded, func() { replaceFile(t, f.config, next()) }) // no link any more
	p.logs(t, reloaded, func() { writeFile(t, f.config, []byte(next())) })
	p.logs(t, reloaded, func() {
		p.logs(t, notUsable, func() {
			if err := os.Remove(f.config); err != nil {
				t.Fatal(err)
			}
		})
		writeFile(t, f.config, []byte(next()))
	})
	p.logs(t, "SIGHUP: renewed", func() { p.hangUpOnce(t) }) // with nothing to reload
	mustAsk(t, p.client(t, ""), http.StatusOK)
}

// TestReloadAuthority has the running proxy take up a CA that was rotated.
func TestReloadAuthority(t *testing.T) {
	t.Parallel()
	f := newFixture(t, fixtureConfig{})
	p := f.serve(t)
	mustAsk(t, p.client(t, ""), http.StatusOK)
	former := readFile(t, p.ca)
	mustRun(t, baseEnv(t), agentproxy, "ca", "rotate", "--config", f.config)
	p.logs(t, reloaded, func() { p.hangUpOnce(t) })
	if readFile(t, p.ca) == former {
		t.Fatal("the CA is the same")
	}
	mustAsk(t, p.client(t, ""), http.StatusOK) // which trusts the new one alone
}
