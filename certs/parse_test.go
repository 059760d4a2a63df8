package certs_test

import (
	"bytes"
	"crypto/elliptic"
	"encoding/pem"
	"path/filepath"
	"strings"
	"testing"

	"github.com/agentproxy/agentproxy/certs"
)

// Whatever the two files hold, there is a result or an error of one line, and
// the same once more when what was read is written again.
func FuzzParse(f *testing.F) {
	cfg := config(f)
	a := open(f, cfg)
	f.Add(a.PEM(), read(f, filepath.Join(cfg.Dir, "ca-key.pem")))
	f.Add([]byte{}, []byte("-----BEGIN EC PRIVATE KEY-----\n-----END EC PRIVATE KEY-----\n"))
	f.Add([]byte("\x00\xff"), []byte("-----BEGIN PRIVATE KEY-----\nAAAA\n"))
	f.Fuzz(func(t *testing.T, certPEM, keyPEM []byte) {
		cert, err := certs.ParseCertificate(certPEM)
		if err == nil {
			again, err := certs.ParseCertificate(encode("CERTIFICATE", cert.Raw))
			if err != nil || !again.Equal(cert) {
				t.Errorf("not read again: %v", err)
			}
		} else if strings.Contains(err.Error(), "\n") {
			t.Errorf("error of several lines: %q", err)
		}
		issuer, key, err := certs.ParseIssuer(keyPEM, cert)
		if err == nil {
			if issuer == nil && cert != nil {
				t.Error("no issuer")
			}
			if key.Curve != elliptic.P256() {
				t.Error("another curve")
			}
		} else if block, _ := pem.Decode(keyPEM); block != nil && len(block.Bytes) > 8 && bytes.Contains([]byte(err.Error()), block.Bytes) {
			t.Errorf("error with the key's content: %q", err)
		}
	})
}
