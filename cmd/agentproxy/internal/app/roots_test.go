package app

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestReadRoots checks a file at once, and reads the system's roots when they are needed.
func TestReadRoots(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	write := func(name string, content []byte) {
		if err := os.WriteFile(at(name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("SSL_CERT_FILE", at("system.pem"))
	t.Setenv("SSL_CERT_DIR", dir+"/none")
	own, system := rootPEM(t), rootPEM(t)
	write("own.pem", own)
	write("text.pem", []byte("no certificate"))
	for file, want := range map[string]string{"none.pem": "no such file", "text.pem": "has no certificate"} {
		if _, err := readRoots(at(file), os.ReadFile); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", file, err)
		}
	}
	roots, err := readRoots(at("own.pem"), os.ReadFile)
	if err != nil {
		t.Fatal(err)
	}
	write("system.pem", system)
	want := x509.NewCertPool()
	want.AppendCertsFromPEM(system)
	want.AppendCertsFromPEM(own)
	first := roots()
	if !first.Equal(want) {
		t.Error("the roots are not the system's and the file's")
	}
	if roots() != first {
		t.Error("the roots are read twice")
	}
}

// rootPEM makes a root certificate.
func rootPEM(t *testing.T) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}
