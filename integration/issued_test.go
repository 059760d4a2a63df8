//go:build linux

package integration

import (
	"crypto/tls"
	"encoding/base64"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coder/websocket"
)

// TestIssuedTokensRun plays tokens that end against a running proxy that takes nothing
// else.
func TestIssuedTokensRun(t *testing.T) {
	t.Parallel()
	f := newFixture(t, fixtureConfig{yaml: "clients: {issued: only}\nprofiles: [{name: builds, labels: [\"build-*\"]}]"})
	command := func(args ...string) string {
		t.Helper()
		return strings.TrimSpace(mustRun(t, baseEnv(t), agentproxy, append(args, "--config", f.config)...))
	}
	token := command("token", "issue", "--label", "build-42", "--ttl", "2h")
	p := f.start(t, baseEnv(t), agentproxy, "serve", "--config", f.config) // which has seen no token yet
	roots := p.roots(t)
	client := func(user, password string) *http.Client {
		via := &url.URL{Scheme: "http", Host: p.addr, User: url.UserPassword(user, password)}
		transport := &http.Transport{Proxy: http.ProxyURL(via), TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}}
		t.Cleanup(transport.CloseIdleConnections)
		return &http.Client{Transport: transport}
	}
	// ask returns what a client gets that shows a token.
	ask := func(user, password string) string {
		t.Helper()
		res, err := client(user, password).Get("https://chatgpt.com/backend-api/test/echo")
		if err != nil {
			return err.Error()
		}
		res.Body.Close()
		return res.Status
	}
	if got := ask("build-42", token); got != "200 OK" {
		t.Errorf("with the token: %s", got)
	}
	parts := strings.Split(token, ".")
	altered := parts[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(`{"iss":"agentproxy","sub":"build-42","exp":9999999999,"iat":1,"jti":"x"}`)) + "." + parts[2]
	foreign := strings.TrimSpace(mustRun(t, append(baseEnv(t), "AGENTPROXY_STATE_DIR="+t.TempDir()), agentproxy, "token", "issue", "--label", "build-42"))
	short := command("token", "issue", "--label", "build-42", "--ttl", "1s")
	for name, shown := range map[string][2]string{
		"another label": {"build-43", token},
		"altered":       {"build-42", altered},
		"foreign":       {"build-42", foreign},
		"none":          {"build-42", "x"},
	} {
		if got := ask(shown[0], shown[1]); !strings.Contains(got, "Proxy Authentication Required") {
			t.Errorf("%s: %s", name, got)
		}
	}
	eventually(t, "the end of a token", func() bool { return strings.Contains(ask("build-42", short), "Proxy Authentication Required") })

	// What it let in ends with it, and what another one did does not.
	open := func(label, token string) *websocket.Conn {
		t.Helper()
		conn, _, err := websocket.Dial(t.Context(), "wss://chatgpt.com/backend-api/test/ws-echo", &websocket.DialOptions{HTTPClient: client(label, token)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.CloseNow() })
		return conn
	}
	echo := func(conn *websocket.Conn) error {
		if err := conn.Write(t.Context(), websocket.MessageText, []byte("x")); err != nil {
			return err
		}
		_, _, err := conn.Read(t.Context())
		return err
	}
	other := command("token", "issue", "--label", "build-43")
	gone, stays := open("build-42", token), open("build-43", other)
	for _, conn := range []*websocket.Conn{gone, stays} {
		if err := echo(conn); err != nil {
			t.Fatal(err)
		}
	}
	command("token", "revoke", "--label", "build-42")
	eventually(t, "the end of the WebSocket", func() bool { return echo(gone) != nil })
	if err := echo(stays); err != nil {
		t.Errorf("the other's WebSocket: %v", err)
	}
	if got := ask("build-42", token); !strings.Contains(got, "Proxy Authentication Required") {
		t.Errorf("revoked: %s", got)
	}
	eventually(t, "the reason in the log", func() bool {
		return strings.Contains(p.log.String(), "cut because the client would not be let in any more")
	})

	// Nothing but the key and the list is kept, and the log has no token.
	for _, secret := range []string{token, other, short} {
		if strings.Contains(p.log.String(), secret) {
			t.Error("the log holds a token")
		}
	}
	entries, err := os.ReadDir(filepath.Join(f.stateDir, "client-tokens"))
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		info, err := entry.Info()
		if err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: %v, %v", entry.Name(), info.Mode(), err)
		}
		if raw := readFile(t, filepath.Join(f.stateDir, "client-tokens", entry.Name())); strings.Contains(raw, parts[2]) {
			t.Errorf("%s holds a token", entry.Name())
		}
	}
}
