//go:build linux

package integration

import (
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
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

// TestReplicasRevoke has two proxies take each other's tokens, and end one together by the
// commands of docs/workloads.md.
func TestReplicasRevoke(t *testing.T) {
	t.Parallel()
	f := newFixture(t, fixtureConfig{})
	dir := filepath.Dir(f.config)
	environ := append(baseEnv(t), "PATH="+filepath.Dir(agentproxy)+":"+os.Getenv("PATH"))
	writeFile(t, filepath.Join(dir, "key"), []byte(strings.Repeat("0f", 32)+"\n"))
	f.edit(t, "other_hosts: refuse", "other_hosts: refuse\nclients: {issued: only, issued_key_file: "+filepath.Join(dir, "key")+", issued_revoked_file: "+filepath.Join(dir, "revoked.json")+"}")
	var lines []string
	for _, e := range examplesIn(t, filepath.Join("..", "docs", "workloads.md")) {
		for _, c := range e.commands {
			if e.comment == "run by "+t.Name() {
				lines = append(lines, c.line)
			}
		}
	}
	if len(lines) != 3 {
		t.Fatalf("docs/workloads.md has %d commands to run", len(lines))
	}
	shell := func(line string) { // in dir
		t.Helper()
		mustRun(t, environ, "/bin/sh", "-ec", "cd "+dir+"; "+line)
	}
	last := len(lines) - 1
	for _, line := range lines[:last] {
		shell(line)
	}
	token := strings.TrimSpace(mustRun(t, environ, agentproxy, "token", "issue", "--config", f.config, "--label", "ci-web-7"))
	other := strings.TrimSpace(mustRun(t, environ, agentproxy, "token", "issue", "--config", f.config, "--label", "ci-web-8"))
	type replica struct {
		*proxy
		gone, stays *websocket.Conn
	}
	var replicas []replica
	for i := range 2 {
		p := f.start(t, append(baseEnv(t), "AGENTPROXY_STATE_DIR="+filepath.Join(dir, fmt.Sprint("replica-", i))), agentproxy, "serve", "--config", f.config)
		open := func(label, token string) *websocket.Conn {
			t.Helper()
			via := &url.URL{Scheme: "http", Host: p.addr, User: url.UserPassword(label, token)}
			transport := &http.Transport{Proxy: http.ProxyURL(via), TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: p.roots(t)}}
			t.Cleanup(transport.CloseIdleConnections)
			conn, _, err := websocket.Dial(t.Context(), "wss://chatgpt.com/backend-api/test/ws-echo", &websocket.DialOptions{HTTPClient: &http.Client{Transport: transport}})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = conn.CloseNow() })
			return conn
		}
		replicas = append(replicas, replica{p, open("ci-web-7", token), open("ci-web-8", other)})
	}
	echo := func(conn *websocket.Conn) error {
		if err := conn.Write(t.Context(), websocket.MessageText, []byte("x")); err != nil {
			return err
		}
		_, _, err := conn.Read(t.Context())
		return err
	}
	for _, r := range replicas {
		if err := errors.Join(echo(r.gone), echo(r.stays)); err != nil {
			t.Fatal(err)
		}
	}
	shell(lines[last])
	for i, r := range replicas {
		eventually(t, fmt.Sprint("the end of the WebSocket at replica ", i), func() bool { return echo(r.gone) != nil })
		if err := echo(r.stays); err != nil {
			t.Errorf("the other's WebSocket at replica %d: %v", i, err)
		}
	}
	if report := run(t, environ, agentproxy, "check", "--config", f.config).stdout; strings.Contains(report, "issued token are refused") {
		t.Errorf("check: %s", report)
	}
	if err := os.Remove(filepath.Join(dir, "revoked.json")); err != nil {
		t.Fatal(err)
	}
	if report := run(t, environ, agentproxy, "check", "--config", f.config).stdout; !strings.Contains(report, "clients with an issued token are refused: there is no list of revoked tokens") {
		t.Errorf("check: %s", report)
	}
	for i, r := range replicas {
		eventually(t, fmt.Sprint("the end of what replica ", i, " cannot check"), func() bool { return echo(r.stays) != nil })
	}
}
