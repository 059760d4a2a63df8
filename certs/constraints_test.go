package certs_test

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/agentproxy/agentproxy/certs"
)

// opensslVerify asks OpenSSL whether a file with a leaf and its issuer holds below a CA.
func opensslVerify(t *testing.T, ca, chain string) (ok bool, output string) {
	t.Helper()
	out, err := exec.Command("openssl", "verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", ca, "-untrusted", chain, chain).CombinedOutput()
	if _, exited := err.(*exec.ExitError); err != nil && !exited {
		t.Fatalf("these tests need the openssl command: %v", err)
	}
	return err == nil, string(out)
}

func TestOpenSSLTakesLeaves(t *testing.T) {
	t.Parallel()
	a := open(t, config(t))
	for _, host := range []string{"chatgpt.com", "ab.chatgpt.com", "chat.openai.com"} {
		path := filepath.Join(t.TempDir(), "chain.pem")
		var chain []byte
		for _, der := range leaf(t, a, host).Certificate {
			chain = append(chain, encode("CERTIFICATE", der)...)
		}
		write(t, path, chain, 0o644)
		if ok, out := opensslVerify(t, a.Path(), path); !ok {
			t.Errorf("%s: %s", host, out)
		}
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
