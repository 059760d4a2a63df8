//go:build linux && scanners

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
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// testsslFindings are what testssl.sh finds that is as it should be, and why.
var testsslFindings = map[string]string{
	"engine_problem":        "is of the openssl that it uses",
	"TLS_session_ticket":    "is what clients are told; crypto/tls takes a new key every day",
	"cert_expirationStatus": "leaves are for a week",
	"cert_notAfter":         "leaves are for a week",
	"cert_revocation":       "nobody but the user is to trust the CA, who removes it",
	"HSTS":                  "is the server's to say",
	"security_headers":      "are the server's to say",
}

// TestTestssl has testssl.sh look at the intercepted side, through the proxy, as
// it looks at servers.
func TestTestssl(t *testing.T) {
	t.Parallel()
	p := serveUsual(t)
	out := filepath.Join(t.TempDir(), "findings.json")
	host, port, _ := net.SplitHostPort(p.tunnels(t))
	r := run(t, baseEnv(t), systemProgram(t, "testssl"), "--quiet", "--color", "0", "--warnings", "off", "--nodns", "none", "--ip", host,
		"--add-ca", p.ca, "--openssl", "/usr/bin/openssl", "--jsonfile", out, "chatgpt.com:"+port)
	t.Log(r.stdout)
	var findings []struct{ ID, Severity, Finding string }
	if err := json.Unmarshal([]byte(readFile(t, out)), &findings); err != nil {
		t.Fatalf("%v\n%s", err, r.stderr)
	}
	count := make(map[string]int)
	for _, f := range findings {
		count[f.Severity]++
		if slices.Contains([]string{"OK", "INFO"}, f.Severity) {
			continue
		}
		if reason, ok := testsslFindings[f.ID]; ok {
			t.Logf("%s %s: %s (%s)", f.Severity, f.ID, f.Finding, reason)
		} else {
			t.Errorf("%s %s: %s", f.Severity, f.ID, f.Finding)
		}
	}
	t.Logf("%d findings: %v", len(findings), count)
}

// TestSslscan has sslscan look at it, which knows of no proxies.
func TestSslscan(t *testing.T) {
	t.Parallel()
	p := serveUsual(t)
	out := mustRun(t, baseEnv(t), systemProgram(t, "sslscan"), "--no-colour", "--sni-name=chatgpt.com", p.tunnels(t))
	for _, want := range []string{
		"SSLv2     disabled", "SSLv3     disabled", "TLSv1.0   disabled", "TLSv1.1   disabled", "TLSv1.2   enabled", "TLSv1.3   enabled",
		"Session renegotiation not supported", "Server supports TLS Fallback SCSV", "TLSv1.2 not vulnerable to heartbleed", "TLSv1.3 not vulnerable to heartbleed",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("it does not say %q", want)
		}
	}
	ciphers := 0
	for line := range strings.Lines(out) {
		if fields := strings.Fields(line); len(fields) > 4 && (fields[0] == "Preferred" || fields[0] == "Accepted") {
			ciphers++
			if name := fields[4]; !strings.Contains(name, "GCM") && !strings.Contains(name, "CHACHA20") {
				t.Errorf("%s is accepted", name)
			}
		}
	}
	if ciphers == 0 {
		t.Error("it finds no cipher")
	}
	if t.Failed() {
		t.Log(out)
	}
}

// TestSlowHTTP has slowhttptest hold hundreds of connections as long as it can: to
// the listener, to the admin port, and to the intercepted side of tunnels. Its own
// probes, and clients with another label, are served all the while.
func TestSlowHTTP(t *testing.T) {
	t.Parallel()
	f := newFixture(t, fixtureConfig{})
	admin := f.adminOn(t)
	p := f.serve(t)
	if !needRoot(t) {
		t.Fatal("without root its tunnels cannot be at port 443, nor be called chatgpt.com")
	}
	hosts := filepath.Join(t.TempDir(), "hosts")
	writeFile(t, hosts, []byte("127.44.0.1 chatgpt.com\n127.0.0.1 localhost\n"))
	p.tunnelsAt(t, "127.44.0.1:443")
	client := p.slowHTTPClient(t)
	const seconds = 40 // more than handshake_timeout
	for _, test := range []struct {
		name string
		args []string
	}{
		{"headers to the listener", []string{"-H", "-u", "http://" + p.addr + "/"}},
		{"headers to the admin port", []string{"-H", "-u", "http://" + admin + "/"}},
		{"bodies to the admin port", []string{"-B", "-u", "http://" + admin + "/"}},
		{"headers in tunnels", []string{"-H", "-u", backendAPI + "/test/sse?n=10000"}},
		{"bodies in tunnels", []string{"-B", "-u", backendAPI + "/test/sse"}},
		{"reading in tunnels", []string{"-X", "-u", backendAPI + "/test/sse?n=10000"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			script := `mount --bind "$1" /etc/hosts && shift && exec slowhttptest "$@"`
			r := run(t, baseEnv(t), systemProgram(t, "unshare"), append([]string{"--mount", "sh", "-c", script, "sh", hosts}, append(test.args, "-c", "150", "-r", "50", "-i", "5", "-l", strconv.Itoa(seconds), "-p", "20")...)...)
			out := ansi.ReplaceAllString(r.stdout, "")
			states := availability.FindAllString(out, -1)
			if len(states) == 0 || slices.ContainsFunc(states, func(s string) bool { return !strings.HasSuffix(s, "YES") }) {
				t.Errorf("%q\n%s%s", states, out, r.stderr)
			}
			if ends := lastStates.FindAllString(out, -1); len(ends) > 4 {
				t.Log(strings.Join(strings.Fields(strings.Join(ends[len(ends)-5:], " ")), " "))
			}
		})
	}
	t.Run("another client", func(t *testing.T) {
		t.Parallel()
		for end := time.Now().Add(seconds * time.Second); time.Now().Before(end); time.Sleep(time.Second) {
			response, err := client.Get(backendAPI + "/test/sse")
			if err != nil {
				t.Fatal(err)
			}
			response.Body.Close()
			if response.StatusCode != http.StatusOK {
				t.Error(response.Status)
			}
		}
	})
}

var (
	ansi         = regexp.MustCompile("\x1b\\[[0-9;]*[a-zA-Z]")
	availability = regexp.MustCompile(`service available: +[A-Z]+`)
	lastStates   = regexp.MustCompile(`(?m)^(Exit status|closed|error|connected|pending).*$`)
)

// tunnels returns an address at which each connection is a tunnel to chatgpt.com.
func (p *proxy) tunnels(t *testing.T) (address string) { return p.tunnelsAt(t, "127.0.0.1:0") }

func (p *proxy) tunnelsAt(t *testing.T, listen string) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", listen)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer client.Close()
				server, err := net.Dial("tcp", p.addr)
				if err != nil {
					return
				}
				defer server.Close()
				fmt.Fprintf(server, "CONNECT chatgpt.com:443 HTTP/1.1\r\nHost: chatgpt.com:443\r\n\r\n")
				answer, err := http.ReadResponse(bufio.NewReader(server), &http.Request{Method: http.MethodConnect})
				if err != nil || answer.StatusCode != http.StatusOK {
					return
				}
				go func() {
					_, _ = io.Copy(server, client)
					_ = server.(*net.TCPConn).CloseWrite()
				}()
				_, _ = io.Copy(client, server)
			}()
		}
	}()
	return l.Addr().String()
}

// slowHTTPClient is a client with a label of its own, which opens a connection for
// each request.
func (p *proxy) slowHTTPClient(t *testing.T) *http.Client {
	t.Helper()
	u := *p.url(t)
	u.User = url.User("another")
	return &http.Client{Timeout: rawTimeout, Transport: &http.Transport{
		Proxy: http.ProxyURL(&u), DisableKeepAlives: true, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: p.roots(t)},
	}}
}
