//go:build linux && verifiers

package integration

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
)

// newMoreVerdicts returns what asks Java, which knows two purposes.
func newMoreVerdicts(t *testing.T) moreVerdicts {
	t.Helper()
	classes := t.TempDir()
	mustRun(t, baseEnv(t), systemProgram(t, "javac"), "-d", classes, sourceOf(t, "verifiers/Verify.java"))
	return func(t *testing.T, p purpose, ca, chain string) map[string]bool {
		t.Helper()
		role := map[string]string{forServer.oid.String(): "server", forClient.oid.String(): "client"}[p.oid.String()]
		if role == "" {
			return nil
		}
		out := mustRun(t, baseEnv(t), systemProgram(t, "java"), "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", classes, "Verify", ca, chain, role)
		taken := out == "taken\n"
		if !taken && !strings.HasPrefix(out, "refused: ") {
			t.Errorf("Java says %q", out)
		}
		return map[string]bool{"Java": taken}
	}
}

// TestStolenKeyInFirefox is TestStolenKeyInBrowser for Firefox, which trusts the CA by
// agentproxy ca install, too. It asks a proxy that leads all to the thief.
func TestStolenKeyInFirefox(t *testing.T) {
	s := steal(t)
	site := newThiefs(t, s)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect {
			http.Error(w, "not here", http.StatusForbidden)
			return
		}
		server, err := net.Dial("tcp", site.Listener.Addr().String())
		if err != nil {
			t.Error(err)
			return
		}
		defer server.Close()
		w.WriteHeader(http.StatusOK)
		client, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer client.Close()
		go func() {
			_, _ = io.Copy(server, rw)
			_ = server.Close()
		}()
		_, _ = io.Copy(client, server)
	}))
	defer proxy.Close()
	profile := newFirefoxProfile(t, s.home, proxy.Listener.Addr().String())
	mustRun(t, append(baseEnv(t), "HOME="+s.home, "XDG_STATE_HOME="+s.home, "XDG_CONFIG_HOME="+s.home), agentproxy, "ca", "install", "--store", "browsers", "--yes")
	site.check(t, awaitPage(t, site.outcome, firefox(t, s.home, profile, "https://chatgpt.com/")))
}

// sourceOf returns the absolute path of a file of the tests.
func sourceOf(t *testing.T, name string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.FromSlash(name))
	if err != nil {
		t.Fatal(err)
	}
	return path
}
