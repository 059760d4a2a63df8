//go:build linux

package integration

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/asn1"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// thiefs is a server that is many, each of which a thief of the CA's files can set up. Its
// page has a script of each.
type thiefs struct {
	*httptest.Server
	taken   map[string]bool // whether a browser must take a server
	outcome chan string     // what a page says that was taken
}

// newThiefs starts the servers.
func newThiefs(t *testing.T, s *stolen) *thiefs {
	t.Helper()
	below := *s
	below.issuer = s.forge(t, x509.Certificate{Subject: alice, IsCA: true, KeyUsage: x509.KeyUsageCertSign}, false)
	below.key = s.leafKey

	servers := map[string]struct {
		taken    bool
		by       *stolen
		template x509.Certificate
		purpose  asn1.ObjectIdentifier
	}{
		"chatgpt.com":              {true, s, x509.Certificate{}, forServer.oid},
		"chat.openai.com":          {true, s, x509.Certificate{}, forServer.oid},
		"a.b.chatgpt.com":          {true, s, x509.Certificate{}, forServer.oid},
		"example.com":              {false, s, x509.Certificate{}, forServer.oid},
		"auth.openai.com":          {false, s, x509.Certificate{}, forServer.oid},
		"evilchatgpt.com":          {false, s, x509.Certificate{}, forServer.oid},
		"192.0.2.1":                {false, s, x509.Certificate{IPAddresses: []net.IP{net.ParseIP("192.0.2.1")}}, forServer.oid},
		"more.chatgpt.com":         {false, s, x509.Certificate{DNSNames: []string{"more.chatgpt.com", "example.org"}}, forServer.oid},
		"mail-address.chatgpt.com": {false, s, x509.Certificate{EmailAddresses: []string{"alice@chatgpt.com"}}, forServer.oid},
		"client.chatgpt.com":       {false, s, x509.Certificate{}, forClient.oid},
		"code.chatgpt.com":         {false, s, x509.Certificate{}, forCode.oid},
		"mail.chatgpt.com":         {false, s, x509.Certificate{}, forMail.oid},
		"time.chatgpt.com":         {false, s, x509.Certificate{}, forTime.oid},
		"card.chatgpt.com":         {false, s, x509.Certificate{}, smartCard},
		"below.chatgpt.com":        {false, &below, x509.Certificate{}, forServer.oid},
	}
	site := &thiefs{taken: make(map[string]bool), outcome: make(chan string, 1)}
	chains := make(map[string]*tls.Certificate)
	var page strings.Builder
	page.WriteString("<!doctype html><body>")
	for host, server := range servers {
		site.taken[host] = server.taken
		if server.template.DNSNames == nil && server.template.IPAddresses == nil {
			server.template.DNSNames = []string{host}
		}
		cert := server.by.forge(t, server.template, false, server.purpose)
		chains[host] = &tls.Certificate{Certificate: [][]byte{cert.Raw, server.by.issuer.Raw, s.issuer.Raw}, PrivateKey: s.leafKey}
		fmt.Fprintf(&page, "<script src='https://%s/script.js'></script>\n", host)
	}
	page.WriteString("<script>onload = () => fetch('/outcome', { method: 'POST', body: document.body.innerText })</script>")
	site.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/script.js":
			w.Header().Set("Content-Type", "text/javascript")
			fmt.Fprintf(w, "document.body.append('[took ' + '%s]')", r.Host)
		case "/outcome":
			outcome, _ := io.ReadAll(r.Body)
			site.outcome <- string(outcome)
		default:
			w.Header().Set("Content-Type", "text/html")
			io.WriteString(w, page.String())
		}
	}))
	site.Config.ErrorLog = log.New(io.Discard, "", 0)
	site.TLS = &tls.Config{GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		if hello.ServerName == "" { // of an address
			return chains["192.0.2.1"], nil
		}
		return chains[hello.ServerName], nil
	}}
	site.StartTLS()
	t.Cleanup(site.Close)
	return site
}

// check compares what a browser says that it has taken with what it must.
func (site *thiefs) check(t *testing.T, outcome string) {
	t.Helper()
	for host, want := range site.taken {
		if took := strings.Contains(outcome, "[took "+host+"]"); took != want {
			t.Errorf("%s: taken %t", host, took)
		}
	}
	if t.Failed() {
		t.Log(outcome)
	}
}

// TestStolenKeyInBrowser has Chromium, which trusts the CA by agentproxy ca install,
// load a page and from it a script of each server that a thief of the CA's files
// can set up. It must take those of the hosts, and no other.
func TestStolenKeyInBrowser(t *testing.T) {
	t.Parallel()
	s := steal(t)
	site := newThiefs(t, s)
	environ := append(baseEnv(t), "HOME="+s.home, "XDG_CONFIG_HOME="+s.home, "XDG_CACHE_HOME="+s.home)
	site.check(t, awaitPage(t, site.outcome, command(t, environ, systemProgram(t, "chromium"), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
		"--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
		"--user-data-dir="+filepath.Join(s.home, "profile"), "--host-resolver-rules=MAP * "+site.Listener.Addr().String(), "https://chatgpt.com/")))
}

// awaitPage runs a browser until its page has sent its outcome.
func awaitPage(t *testing.T, outcomes <-chan string, browser *exec.Cmd) string {
	t.Helper()
	ended := make(chan result, 1)
	go func() { ended <- runCommand(t, browser) }()
	select {
	case outcome := <-outcomes:
		_ = killGroup(browser)
		<-ended
		return outcome
	case r := <-ended:
		t.Fatalf("the browser has ended: %s%s", r.stdout, r.stderr)
	}
	return ""
}
