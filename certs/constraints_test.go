package certs_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"net"
	"net/url"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/agentproxy/agentproxy/certs"
)

// opensslVerify asks OpenSSL whether a chain of leaf and CA holds.
func opensslVerify(t *testing.T, ca, leaf string) (ok bool, output string) {
	t.Helper()
	out, err := exec.Command("openssl", "verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", ca, leaf).CombinedOutput()
	if _, exited := err.(*exec.ExitError); err != nil && !exited {
		t.Fatalf("these tests need the openssl command: %v", err)
	}
	return err == nil, string(out)
}

func TestOpenSSLTakesLeaves(t *testing.T) {
	t.Parallel()
	a := open(t, config(t))
	for _, host := range []string{"chatgpt.com", "ab.chatgpt.com", "chat.openai.com"} {
		path := filepath.Join(t.TempDir(), "leaf.pem")
		write(t, path, encode("CERTIFICATE", leaf(t, a, host).Certificate[0]), 0o644)
		if ok, out := opensslVerify(t, a.Path(), path); !ok {
			t.Errorf("%s: %s", host, out)
		}
	}
}

// What a thief of ca-key.pem could sign is of no use.
func TestStolenKey(t *testing.T) {
	t.Parallel()
	cfg := config(t)
	a := open(t, cfg)
	caKey := authorityKey(t, cfg)
	leafKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(a.Certificate())

	mail := func(address string) x509.Certificate {
		return x509.Certificate{DNSNames: []string{"chatgpt.com"}, EmailAddresses: []string{address}}
	}
	uri := func(s string) x509.Certificate {
		u, err := url.Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		return x509.Certificate{DNSNames: []string{"chatgpt.com"}, URIs: []*url.URL{u}}
	}
	address := func(s string) x509.Certificate {
		return x509.Certificate{DNSNames: []string{"chatgpt.com"}, IPAddresses: []net.IP{net.ParseIP(s)}}
	}
	const (
		permitted = "permitted subtree violation"
		excluded  = "excluded subtree violation"
	)
	for name, test := range map[string]struct {
		template x509.Certificate
		openssl  string // what it says; "" if it takes the certificate
	}{
		"intercepted host":    {x509.Certificate{DNSNames: []string{"chatgpt.com"}}, ""},
		"subdomain":           {x509.Certificate{DNSNames: []string{"a.b.chatgpt.com"}}, ""},
		"another host":        {x509.Certificate{DNSNames: []string{"example.com"}}, permitted},
		"host and another":    {x509.Certificate{DNSNames: []string{"chatgpt.com", "example.com"}}, permitted},
		"sibling":             {x509.Certificate{DNSNames: []string{"auth.openai.com"}}, permitted},
		"look-alike":          {x509.Certificate{DNSNames: []string{"evilchatgpt.com"}}, permitted},
		"IPv4 address":        {address("192.0.2.1"), excluded},
		"IPv6 address":        {address("2001:db8::1"), excluded},
		"mail":                {mail("a@example.com"), permitted},
		"mail in the domain":  {mail("a@chatgpt.com"), permitted},
		"mail to nowhere":     {mail("a@invalid"), excluded},
		"mail below nowhere":  {mail("a@a.invalid"), permitted},
		"URI":                 {uri("https://example.com/"), permitted},
		"URI in the domain":   {uri("https://chatgpt.com/"), permitted},
		"URI to nowhere":      {uri("https://invalid/"), excluded},
		"common name of host": {x509.Certificate{Subject: pkix.Name{CommonName: "example.com"}}, permitted},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			template := test.template
			template.NotBefore = time.Now().Add(-time.Hour)
			template.NotAfter = time.Now().Add(time.Hour)
			template.BasicConstraintsValid = true
			template.KeyUsage = x509.KeyUsageDigitalSignature
			path := filepath.Join(t.TempDir(), "leaf.pem")
			der, err := x509.CreateCertificate(rand.Reader, &template, a.Certificate(), &leafKey.PublicKey, caKey)
			if err != nil {
				t.Fatal(err)
			}
			write(t, path, encode("CERTIFICATE", der), 0o644)
			ok, out := opensslVerify(t, a.Path(), path)
			if ok != (test.openssl == "") || !strings.Contains(out, test.openssl) {
				t.Errorf("openssl, want %q:\n%s", test.openssl, out)
			}
			if len(template.DNSNames) == 0 {
				return // crypto/x509 reads no host from a common name
			}
			cert, err := x509.ParseCertificate(der)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := cert.Verify(x509.VerifyOptions{Roots: roots}); (err == nil) != (test.openssl == "") {
				t.Errorf("crypto/x509 says %v", err)
			}
		})
	}
}

func TestHostsAreCovered(t *testing.T) {
	t.Parallel()
	cfg := config(t)
	open(t, cfg)
	for _, test := range []struct {
		hosts []string
		want  string // the error of Open, "" for none
	}{
		{nil, ""},
		{[]string{"chatgpt.com"}, ""},
		{[]string{"*.ab.ChatGPT.com"}, ""},
		{[]string{"chatgpt.com", "openai.com"}, "do not cover openai.com; run"},
		{[]string{"*.a.example", "a.example", "b.example"}, "do not cover a.example, b.example; run"},
	} {
		cfg.Hosts = test.hosts
		_, err := certs.Open(cfg)
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%q: error %v, want %q", test.hosts, err, test.want)
		}
	}
}
