package certs_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/agentproxy/agentproxy/certs"
)

// root makes a root certificate of somebody else.
func root(t *testing.T, name string) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return encode("CERTIFICATE", der)
}

func TestBundle(t *testing.T) {
	t.Parallel()
	cfg := config(t)
	former := open(t, cfg)
	a, err := certs.Rotate(cfg)
	if err != nil {
		t.Fatal(err)
	}
	one, two := root(t, "Root One"), root(t, "Root Two agentproxy CA ")
	trusted := encode("TRUSTED CERTIFICATE", []byte("DER and more"))
	unterminated := bytes.TrimSpace(two)
	want := string(slices.Concat(one, trusted, two, a.PEM()))
	for name, roots := range map[string][]byte{
		"plain":             slices.Concat(one, trusted, two),
		"no last newline":   slices.Concat(one, trusted, unterminated),
		"comments":          slices.Concat([]byte("# Root One\n"), one, []byte("\n\n"), trusted, two),
		"twice":             slices.Concat(one, trusted, two, one),
		"a bundle":          a.Bundle(certs.ParseRoots(slices.Concat(one, trusted, two))),
		"a former bundle":   former.Bundle(certs.ParseRoots(slices.Concat(one, trusted, two))),
		"keys among them":   slices.Concat(one, p256Key(t, nil), trusted, two),
		"CRLF":              bytes.ReplaceAll(slices.Concat(one, trusted, two), []byte("\n"), []byte("\r\n")),
		"the CA on the way": slices.Concat(a.PEM(), one, former.PEM(), trusted, two),
	} {
		if got := string(a.Bundle(certs.ParseRoots(roots))); got != want {
			t.Errorf("%s:\n%s\nwant\n%s", name, got, want)
		}
	}
	if got := a.Bundle(certs.Roots{}); !bytes.Equal(got, a.PEM()) {
		t.Errorf("without roots: %s", got)
	}
}

func TestSystemRoots(t *testing.T) {
	t.Parallel()
	a := open(t, config(t))
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	usual, extra, hashed := root(t, "Usual"), root(t, "Extra"), root(t, "Hashed")
	write(t, at("usual.pem"), usual, 0o644)
	write(t, at("extra.pem"), extra, 0o644)
	write(t, at("ours.pem"), a.PEM(), 0o644)
	write(t, at("bundle.pem"), a.Bundle(certs.ParseRoots(extra)), 0o644)
	write(t, at("garbage"), []byte("\x00garbage"), 0o644)
	if err := os.MkdirAll(at("certs/sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, at("certs/1234abcd.0"), hashed, 0o644)
	write(t, at("certs/hashed.pem"), hashed, 0o644)
	write(t, at("certs/README"), []byte("no certificate"), 0o644)

	files, dirs := []string{at("none"), at("usual.pem"), at("extra.pem")}, []string{at("none"), at("certs")}
	for name, test := range map[string]struct {
		file, dir   string // SSL_CERT_FILE and SSL_CERT_DIR
		files, dirs []string
		want        [][]byte
		path        string
		err         string
	}{
		"usual":                   {files: files, dirs: dirs, want: [][]byte{usual}, path: "usual.pem"},
		"directories without any": {files: files[:1], dirs: dirs, want: [][]byte{hashed}, path: "certs"},
		"file given":              {file: at("extra.pem"), files: files, dirs: dirs, want: [][]byte{extra}, path: "extra.pem"},
		"directory given":         {dir: at("none") + string(os.PathListSeparator) + at("certs"), files: files, want: [][]byte{usual, hashed}, path: "usual.pem"},
		"both given":              {file: at("extra.pem"), dir: at("certs"), files: files, want: [][]byte{extra, hashed}, path: "extra.pem"},
		"our bundle":              {file: at("bundle.pem"), files: files, want: [][]byte{extra}, path: "bundle.pem"},
		"our CA alone":            {file: at("ours.pem"), files: files, want: [][]byte{usual}, path: "usual.pem"},
		"missing file":            {file: at("none"), files: files, err: "SSL_CERT_FILE: open " + at("none")},
		"file is a directory":     {file: dir, files: files, err: "SSL_CERT_FILE: read " + dir},
		"file without any":        {file: at("garbage"), files: files, err: "SSL_CERT_FILE: read " + at("garbage") + ": no PEM certificate"},
		"none at all":             {files: files[:1], dirs: dirs[:1], err: "install the package ca-certificates"},
	} {
		got, path, err := certs.SystemRootsFrom(test.file, test.dir, test.files, test.dirs)
		if test.err != "" {
			if err == nil || !strings.Contains(err.Error(), test.err) {
				t.Errorf("%s: error %v, want %q", name, err, test.err)
			}
			continue
		}
		if err != nil || path != at(test.path) || !bytes.Equal(got.PEM(), slices.Concat(test.want...)) {
			t.Errorf("%s: from %s, error %v:\n%s", name, path, err, got.PEM())
		}
	}
}

func TestSystemPool(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "roots.pem")
	one := root(t, "Root One")
	if err := os.WriteFile(file, slices.Concat(open(t, config(t)).PEM(), one), 0o600); err != nil {
		t.Fatal(err)
	}
	pool, err := certs.SystemPool(func(name string) string {
		return map[string]string{"SSL_CERT_FILE": file}[name]
	})
	if err != nil {
		t.Fatal(err)
	}
	want := x509.NewCertPool()
	want.AppendCertsFromPEM(one)
	if !pool.Equal(want) {
		t.Error("the pool is not the file's root certificates alone")
	}
	// As crypto/x509 has it, a wrong variable is no error.
	if _, err := certs.SystemPool(func(string) string { return "/nowhere/at/all" }); err != nil {
		t.Error(err)
	}
}

func TestSystemRootsLooksUpVariables(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "roots.pem")
	want := root(t, "Root")
	write(t, path, want, 0o644)
	got, from, err := certs.SystemRoots(func(name string) string {
		return map[string]string{"SSL_CERT_FILE": path}[name]
	})
	if err != nil || from != path || !bytes.Equal(got.PEM(), want) {
		t.Errorf("from %q, error %v", from, err)
	}
}
