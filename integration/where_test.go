//go:build linux

package integration

import (
	"encoding/base64"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
)

// serveWith starts the usual proxy with lines of its configuration replaced: old
// and new ones by turns.
func serveWith(t *testing.T, oldnew ...string) *proxy {
	t.Helper()
	f := newFixture(t, fixtureConfig{})
	changed := strings.NewReplacer(oldnew...).Replace(readFile(t, f.config))
	if err := os.WriteFile(f.config, []byte(changed), 0o600); err != nil {
		t.Fatal(err)
	}
	return f.serve(t)
}

// checkConnectRefused sends a CONNECT that must be refused.
func checkConnectRefused(t *testing.T, p *proxy, authority string, status int, code string) {
	t.Helper()
	conn, a := p.connect(t, authority, "x")
	defer conn.Close()
	if a.status != status {
		t.Errorf("CONNECT %s: %d, want %d", authority, a.status, status)
	}
	checkRefusal(t, a.body, code)
}

// TestOwnListeners has a client try to reach the admin port, and the proxy
// itself, through a proxy that may connect to everything else on this machine.
func TestOwnListeners(t *testing.T) {
	t.Parallel()
	f := newFixture(t, fixtureConfig{}).edit(t,
		"other_hosts: refuse", "other_hosts: tunnel\nother_ports: [1-65535]",
		"upstream:\n", "upstream:\n  allow_private: [127.0.0.0/8, 0.0.0.0/32]\n")
	admin := listenAsSystemd(t, f, `admin: ""`, "admin", "tcp", "127.0.0.1:0")
	cmd := passSockets(t, f, admin)
	cmd.Env = baseEnv(t)
	p := f.startCommand(t, cmd)
	for _, address := range []string{admin.Addr().String(), p.addr} {
		_, port, _ := net.SplitHostPort(address)
		for _, host := range []string{"127.0.0.1", "localhost", "0.0.0.0", "[::ffff:127.0.0.1]"} {
			checkConnectRefused(t, p, host+":"+port, http.StatusForbidden, "own_listener")
		}
	}
}

// TestWhere has what is refused about a target before anything is connected to.
func TestWhere(t *testing.T) {
	t.Parallel()
	p := serveWith(t, "other_hosts: refuse", "other_hosts: tunnel\nother_ports: [443, 8000-8001]")
	for _, test := range []struct {
		authority, code string
		status          int
	}{
		{"example.org:22", "port_refused", http.StatusForbidden},
		{"example.org:80", "port_refused", http.StatusForbidden},
		{"example.org:8002", "port_refused", http.StatusForbidden},
		{"127.0.0.1:8000", "private_address", http.StatusForbidden},
		{"169.254.169.254:443", "private_address", http.StatusForbidden},
		{"[::ffff:10.0.0.1]:443", "private_address", http.StatusForbidden},
		{"[64:ff9b::7f00:1]:443", "private_address", http.StatusForbidden},
		{"[2002:7f00:1::]:443", "private_address", http.StatusForbidden},
		{"100.64.0.1:443", "private_address", http.StatusForbidden},
		{"xn--chtgpt-4nf.com:443", "lookalike_host", http.StatusForbidden}, // with a Cyrillic a
		{"chatgpt.com.:443", "bad_target", http.StatusBadRequest},
		{"0x7f000001:443", "bad_target", http.StatusBadRequest},
		{"[0:0:0:0:0:0:0:1]:443", "bad_target", http.StatusBadRequest},
		{"user@chatgpt.com:443", "bad_target", http.StatusBadRequest},
	} {
		checkConnectRefused(t, p, test.authority, test.status, test.code)
	}
}

// TestLimits has clients that hold what they may, and no more.
func TestLimits(t *testing.T) {
	t.Parallel()
	p := serveWith(t, "other_hosts: refuse", "other_hosts: refuse\nlimits: {connections: 3, connections_per_label: 2, header_fields: 100, handshake_timeout: 5m}")
	connectAs := func(label string) rawAnswer {
		t.Helper()
		conn, err := net.DialTimeout("tcp", p.addr, rawTimeout)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return askHTTP1(t, conn, lines("CONNECT chatgpt.com:443 HTTP/1.1", "Host: chatgpt.com:443",
			"Proxy-Authorization: Basic "+base64.StdEncoding.EncodeToString([]byte(label+":"))))
	}
	conn, err := net.DialTimeout("tcp", p.addr, rawTimeout)
	if err != nil {
		t.Fatal(err)
	}
	many := askHTTP1(t, conn, "CONNECT chatgpt.com:443 HTTP/1.1\r\nHost: x\r\n"+strings.Repeat("X:\r\n", 101)+"\r\n")
	if many.status != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("101 fields: %d", many.status)
	}
	checkRefusal(t, many.body, "too_many_headers")
	conn.Close()

	for range 2 {
		if a := connectAs("greedy"); a.status != http.StatusOK {
			t.Fatalf("%d\n%s", a.status, a.body)
		}
	}
	third := connectAs("greedy")
	if third.status != http.StatusServiceUnavailable || !strings.Contains(third.body, "limits.connections_per_label") {
		t.Errorf("a third one of the label: %d\n%s", third.status, third.body)
	}
	// For a moment, a refused connection is kept for its answer to arrive.
	eventually(t, "another label is served", func() bool { return connectAs("modest").status == http.StatusOK })
	fourth := connectAs("late")
	if fourth.status != http.StatusServiceUnavailable || !strings.Contains(fourth.body, "limits.connections ") {
		t.Errorf("a fourth connection: %d\n%s", fourth.status, fourth.body)
	}
}
