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
	"path/filepath"
	"strings"
	"testing"
)

// TestStolenKeyInBrowser has Chromium, which trusts the CA by agentproxy ca install,
// load a page and from it a script of each server that a thief of the CA's files
// can set up. It must take those of the hosts, and no other.
func TestStolenKeyInBrowser(t *testing.T) {
	t.Parallel()
	s := steal(t)
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
	chains := make(map[string]*tls.Certificate)
	var page strings.Builder
	page.WriteString("<!doctype html><body>")
	for host, server := range servers {
		if server.template.DNSNames == nil && server.template.IPAddresses == nil {
			server.template.DNSNames = []string{host}
		}
		cert := server.by.forge(t, server.template, false, server.purpose)
		chains[host] = &tls.Certificate{Certificate: [][]byte{cert.Raw, server.by.issuer.Raw, s.issuer.Raw}, PrivateKey: s.leafKey}
		fmt.Fprintf(&page, "<script src='https://%s/script.js'></script>\n", host)
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/script.js" {
			w.Header().Set("Content-Type", "text/javascript")
			fmt.Fprintf(w, "document.body.append('[took ' + '%s]')", r.Host)
			return
		}
		w.Header().Set("Content-Type", "text/html")
		io.WriteString(w, page.String())
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.TLS = &tls.Config{GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		if hello.ServerName == "" { // of an address
			return chains["192.0.2.1"], nil
		}
		return chains[hello.ServerName], nil
	}}
	server.StartTLS()
	defer server.Close()

	environ := append(baseEnv(t), "HOME="+s.home, "XDG_CONFIG_HOME="+s.home, "XDG_CACHE_HOME="+s.home)
	r := run(t, environ, systemProgram(t, "chromium"), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
		"--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
		"--user-data-dir="+filepath.Join(s.home, "profile"), "--host-resolver-rules=MAP * "+server.Listener.Addr().String(),
		"--dump-dom", "https://chatgpt.com/")
	for host, want := range servers {
		if took := strings.Contains(r.stdout, "[took "+host+"]"); took != want.taken {
			t.Errorf("%s: taken %t", host, took)
		}
	}
	if t.Failed() {
		t.Logf("%s%s", r.stdout, r.stderr)
	}
}
