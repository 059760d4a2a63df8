//go:build linux

package integration

import (
	"io"
	"log"
	"net"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/elazarl/goproxy"

	"github.com/agentproxy/agentproxy/integration/chatgpttest"
)

// TestRunUsersCAs has the shell name a company's CA: programs in a run go on trusting
// what it signed, by each of the variables. One that cannot be read is told, once.
func TestRunUsersCAs(t *testing.T) {
	t.Parallel()
	company, err := chatgpttest.NewServerWith(chatgpttest.Config{SigningKey: signingKey()})
	must(t, err)
	t.Cleanup(company.Close)
	for _, name := range []string{"SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CODEX_CA_CERTIFICATE", "NODE_EXTRA_CA_CERTS"} {
		for _, mode := range []string{"always", "off"} {
			t.Run(name+"/"+mode, func(t *testing.T) {
				t.Parallel()
				u := newRunUser(t, fixtureConfig{}, runHome{})
				file := filepath.Join(u.dir, "company ca.pem")
				writeFile(t, file, company.CertPEM())
				giveTo(t, file, u.uid)
				must(t, os.Chmod(file, 0o600))
				variables := []string{"SSL_CERT_FILE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE"}
				if name == "NODE_EXTRA_CA_CERTS" { // it adds to the roots of Node only
					variables = []string{name}
				}
				usual := slices.Clone(u.env)
				for _, variable := range variables {
					u.env = append(slices.Clone(usual), name+"="+file)
					r := u.run(t, mode, "sh", "-c", `curl -sS --noproxy "*" --cacert "$`+variable+`" --connect-to ::`+company.Addr()+` -o /dev/null -w "%{ssl_verify_result}" https://chatgpt.com/`)
					if r.code != 0 || r.stdout != "0" || r.stderr != "" {
						t.Errorf("with %s: exit code %d\n%s%s", variable, r.code, r.stdout, r.stderr)
					}
					if name == "NODE_EXTRA_CA_CERTS" {
						continue
					}
					u.env = append(slices.Clone(usual), name+"=/nowhere/at/all")
					r = u.run(t, mode, "curl", "-sSf", "-o", "/dev/null", backendAPI+"/test/echo")
					if r.code != 0 || strings.Count(r.stderr, "\n") != 1 || !strings.Contains(r.stderr, name) {
						t.Errorf("with a file that is not there: exit code %d\n%s", r.code, r.stderr)
					}
				}
			})
		}
	}
}

// TestRunShellsProxy has the shell name a proxy: requests leave by it, and it is said,
// unless it is agentproxy's own.
func TestRunShellsProxy(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"always", "off"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			u := newRunUser(t, fixtureConfig{}, runHome{})
			company, asked := connectProxy(t, u.f.backend.Addr())
			config := readFile(t, u.f.config)
			from, to := strings.Index(config, "  connect_to:"), strings.Index(config, "  ca_file:")
			writeFile(t, u.f.config, []byte(config[:from]+config[to:]))
			u.env = append(u.env, "HTTPS_PROXY="+(&url.URL{Scheme: "http", Host: company, User: url.UserPassword("me", "s3cret")}).String())
			curl := []string{"curl", "-sSf", "-o", "/dev/null", backendAPI + "/test/echo"}
			first := u.run(t, mode, curl...)
			if first.code != 0 || !strings.Contains(first.stderr, company) || strings.Contains(first.stderr, "s3cret") {
				t.Errorf("exit code %d\n%s", first.code, first.stderr)
			}
			if asked.Load() == 0 {
				t.Error("the shell's proxy was not asked")
			}
			u.f.checkSigned(t, chatgpttest.SchemeAgentAssertion)
			if again := u.run(t, mode, curl...); again.code != 0 || again.stderr != "" {
				t.Errorf("it is said again: exit code %d\n%s", again.code, again.stderr)
			}
		})
	}
	t.Run("own", func(t *testing.T) {
		t.Parallel()
		u := newRunUser(t, fixtureConfig{}, runHome{})
		u.env = u.serve(t)
		for _, entry := range u.env {
			if via, ok := strings.CutPrefix(entry, "HTTPS_PROXY=http://"); ok { // a configuration usually says so
				u.env = append(u.env, "AGENTPROXY_LISTEN="+via[strings.Index(via, "@")+1:])
			}
		}
		for _, mode := range []string{"always", "off"} {
			r := u.run(t, mode, "curl", "-sSf", "-o", "/dev/null", backendAPI+"/test/echo")
			if r.code != 0 || r.stderr != "" {
				t.Errorf("%s: exit code %d\n%s", mode, r.code, r.stderr)
			}
		}
		if n := u.f.backend.Count("/backend-api/test/echo"); n != 2 {
			t.Errorf("%d requests", n)
		}
	})
}

// connectProxy is a proxy that takes every host for the one at address.
func connectProxy(t *testing.T, address string) (host string, asked *atomic.Int64) {
	t.Helper()
	asked = new(atomic.Int64)
	p := goproxy.NewProxyHttpServer()
	p.Logger = log.New(io.Discard, "", 0)
	p.ConnectDial = func(network, _ string) (net.Conn, error) {
		asked.Add(1)
		return net.Dial(network, address)
	}
	server := httptest.NewServer(p)
	t.Cleanup(server.Close)
	return server.Listener.Addr().String(), asked
}
