package certs_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/agentproxy/agentproxy/certs"
)

var hosts = []string{"chatgpt.com", "*.chatgpt.com", "chat.openai.com"}

func config(t testing.TB) certs.Config {
	return certs.Config{Dir: filepath.Join(t.TempDir(), "ca"), Hosts: hosts}
}

func open(t testing.TB, cfg certs.Config) *certs.Authority {
	t.Helper()
	a, err := certs.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// authorityKey reads the CA's private key as a thief would.
func authorityKey(t testing.TB, cfg certs.Config) *ecdsa.PrivateKey {
	t.Helper()
	block, _ := pem.Decode(read(t, filepath.Join(cfg.Dir, "ca-key.pem")))
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return key.(*ecdsa.PrivateKey)
}

// issuer is the certificate that signs a's leaves.
func issuer(t testing.TB, a *certs.Authority) *x509.Certificate {
	t.Helper()
	chain := leaf(t, a, hosts[0]).Certificate
	if len(chain) == 1 {
		return a.Certificate()
	}
	cert, err := x509.ParseCertificate(chain[1])
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// verify asks crypto/x509 whether clients that trust bundle take a's leaf for host.
func verify(t testing.TB, bundle []byte, a *certs.Authority, host string) error {
	t.Helper()
	roots, intermediates := x509.NewCertPool(), x509.NewCertPool()
	roots.AppendCertsFromPEM(bundle)
	chain := leaf(t, a, host)
	for _, der := range chain.Certificate[1:] {
		intermediates.AppendCertsFromPEM(encode("CERTIFICATE", der))
	}
	_, err := chain.Leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: intermediates, DNSName: host})
	return err
}

func read(t testing.TB, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func write(t testing.TB, path string, data []byte, perm fs.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, data, perm); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, perm); err != nil {
		t.Fatal(err)
	}
}

func names(t testing.TB, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return names
}

func TestOpenMakesAuthority(t *testing.T) {
	t.Parallel()
	cfg := config(t)
	a := open(t, cfg)
	if again := open(t, cfg); again.Fingerprint() != a.Fingerprint() {
		t.Error("a second Open made another CA")
	}
	for name, want := range map[string]fs.FileMode{"": 0o700, "ca.pem": 0o644, "ca-key.pem": 0o600} {
		info, err := os.Stat(filepath.Join(cfg.Dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("permissions of %q are %o, want %o", name, got, want)
		}
	}
	if a.Path() != filepath.Join(cfg.Dir, "ca.pem") || !bytes.Equal(a.PEM(), read(t, a.Path())) {
		t.Error("PEM is not the file at Path")
	}

	cert := a.Certificate()
	issuer := issuer(t, a)
	for name, c := range map[string]*x509.Certificate{"CA": cert, "issuer": issuer} {
		if !c.IsCA || c.KeyUsage != x509.KeyUsageCertSign || !slices.Equal(c.ExtKeyUsage, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}) {
			t.Errorf("%s: CA %v, key usage %v, extended %v", name, c.IsCA, c.KeyUsage, c.ExtKeyUsage)
		}
	}
	if cert.MaxPathLen != 1 || !issuer.MaxPathLenZero {
		t.Errorf("path lengths %d and %d", cert.MaxPathLen, issuer.MaxPathLen)
	}
	if issuer.CheckSignatureFrom(cert) != nil || !issuer.NotAfter.Equal(cert.NotAfter) {
		t.Errorf("the issuer is of %s and ends %v", issuer.Issuer, issuer.NotAfter)
	}
	if !authorityKey(t, cfg).PublicKey.Equal(issuer.PublicKey) {
		t.Error("the key is not the issuer's")
	}
	if len(cert.SubjectKeyId) != 20 || !bytes.Equal(cert.SubjectKeyId, cert.AuthorityKeyId) {
		t.Errorf("key identifiers %x and %x", cert.SubjectKeyId, cert.AuthorityKeyId)
	}
	if cert.SerialNumber.BitLen() < 100 {
		t.Errorf("serial number %x is short", cert.SerialNumber)
	}
	if want := time.Now().AddDate(10, 0, 0); cert.NotAfter.Sub(want).Abs() > time.Hour {
		t.Errorf("valid until %v, want about %v", cert.NotAfter, want)
	}
}

func TestFingerprintIsThatOfOpenSSL(t *testing.T) {
	t.Parallel()
	a := open(t, config(t))
	out, err := exec.Command("openssl", "x509", "-noout", "-fingerprint", "-sha256", "-in", a.Path()).Output()
	if err != nil {
		t.Fatal(err)
	}
	if _, got, _ := strings.Cut(strings.TrimSpace(string(out)), "="); got != a.Fingerprint() {
		t.Errorf("Fingerprint is %s, openssl says %s", a.Fingerprint(), got)
	}
}

func TestLoadNeverCreates(t *testing.T) {
	t.Parallel()
	cfg := config(t)
	if _, err := certs.Load(cfg); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v, want fs.ErrNotExist", err)
	}
	if _, err := os.Stat(cfg.Dir); !errors.Is(err, fs.ErrNotExist) {
		t.Error("Load made the directory")
	}
	a := open(t, cfg)
	if loaded, err := certs.Load(cfg); err != nil || loaded.Fingerprint() != a.Fingerprint() {
		t.Errorf("Load after Open: %v", err)
	}
}

func TestLoadOrOpenReadOnlyDirectory(t *testing.T) {
	t.Parallel()
	cfg := config(t)
	open(t, cfg)
	if err := os.Remove(filepath.Join(cfg.Dir, "ca.lock")); err != nil {
		t.Fatal(err)
	}
	open(t, cfg)
	if got := fmt.Sprint(names(t, cfg.Dir)); got != "[ca-key.pem ca.pem]" {
		t.Errorf("opening a CA that is there wrote to its directory: %s", got)
	}
}

func TestBadConfig(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		cfg  certs.Config
		want string
	}{
		"no directory": {certs.Config{Hosts: hosts}, "set state_dir"},
		"no hosts":     {certs.Config{Dir: filepath.Join(t.TempDir(), "ca")}, "no hosts"},
		"bare star":    {certs.Config{Dir: filepath.Join(t.TempDir(), "ca"), Hosts: []string{"*"}}, `host pattern "*"`},
		"inner star":   {certs.Config{Dir: filepath.Join(t.TempDir(), "ca"), Hosts: []string{"a.*.com"}}, `host pattern "a.*.com"`},
		"address":      {certs.Config{Dir: filepath.Join(t.TempDir(), "ca"), Hosts: []string{"127.0.0.1"}}, `host pattern "127.0.0.1"`},
		"port":         {certs.Config{Dir: filepath.Join(t.TempDir(), "ca"), Hosts: []string{"a.com:443"}}, `host pattern "a.com:443"`},
		"empty":        {certs.Config{Dir: filepath.Join(t.TempDir(), "ca"), Hosts: []string{""}}, `host pattern ""`},
	} {
		for verb, do := range map[string]func(certs.Config) (*certs.Authority, error){"Open": certs.Open, "Rotate": certs.Rotate} {
			if _, err := do(test.cfg); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%s, %s: error %v, want %q", verb, name, err, test.want)
			}
		}
		if _, err := os.Stat(test.cfg.Dir); test.cfg.Dir != "" && err == nil {
			t.Errorf("%s: the directory was made all the same", name)
		}
	}
}

func TestValidity(t *testing.T) {
	t.Parallel()
	cfg := config(t)
	cert := open(t, cfg).Certificate()
	for name, test := range map[string]struct {
		now  time.Time
		want string
	}{
		"first second": {cert.NotBefore, ""},
		"too early":    {cert.NotBefore.Add(-time.Second), "ca.pem: not valid before " + cert.NotBefore.Format(time.RFC3339)},
		"last second":  {cert.NotAfter, ""},
		"too late":     {cert.NotAfter.Add(time.Second), "ca.pem: expired on " + cert.NotAfter.Format(time.RFC3339)},
	} {
		cfg.Now = func() time.Time { return test.now }
		_, err := certs.Open(cfg)
		if test.want == "" {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), "agentproxy ca rotate") {
			t.Errorf("%s: error %v, want %q", name, err, test.want)
		}
	}
}

func TestRotate(t *testing.T) {
	t.Parallel()
	cfg := config(t)
	cfg.Now = time.Now
	former := open(t, cfg)
	formerKey := read(t, filepath.Join(cfg.Dir, "ca-key.pem"))

	now := time.Date(2030, 1, 2, 3, 4, 5, 0, time.FixedZone("", 3600))
	cfg.Now = func() time.Time { return now }
	cfg.Hosts = append(hosts[:len(hosts):len(hosts)], "example.org")
	if _, err := certs.Open(cfg); err == nil || !strings.Contains(err.Error(), "(chatgpt.com, chat.openai.com) do not cover example.org; run: agentproxy ca rotate") {
		t.Errorf("Open with another host: error %v", err)
	}
	a, err := certs.Rotate(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if a.Fingerprint() == former.Fingerprint() || a.Certificate().Subject.CommonName == former.Certificate().Subject.CommonName {
		t.Error("the new CA is not told from the former")
	}
	if !a.Covers("example.org") || open(t, cfg).Fingerprint() != a.Fingerprint() {
		t.Error("the new CA is not the one in the directory")
	}
	if got := read(t, filepath.Join(cfg.Dir, "ca-20300102T020405Z.pem")); !bytes.Equal(got, former.PEM()) {
		t.Error("the former certificate was not kept")
	}
	for _, name := range names(t, cfg.Dir) {
		if bytes.Contains(read(t, filepath.Join(cfg.Dir, name)), formerKey) {
			t.Errorf("the former key is still in %s", name)
		}
	}
	// The former CA goes on in processes that run with it.
	if _, err := former.Leaf("chatgpt.com"); err != nil {
		t.Error(err)
	}
	// A second rotation in the same second keeps both certificates.
	if _, err := certs.Rotate(cfg); err != nil {
		t.Fatal(err)
	}
	if got := read(t, filepath.Join(cfg.Dir, "ca-20300102T020406Z.pem")); !bytes.Equal(got, a.PEM()) {
		t.Error("the second certificate was not kept")
	}
}

func TestRotateThatFailsKeepsAuthority(t *testing.T) {
	t.Parallel()
	cfg := config(t)
	open(t, cfg)
	cert := filepath.Join(cfg.Dir, "ca.pem")
	before := read(t, cert)
	// A directory in its place makes writing the key fail, whoever runs this.
	key := filepath.Join(cfg.Dir, "ca-key.pem")
	if err := os.Remove(key); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(key, "full"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := certs.Rotate(cfg); err == nil || !strings.Contains(err.Error(), "write "+key) {
		t.Errorf("error %v", err)
	}
	if !bytes.Equal(read(t, cert), before) {
		t.Error("the certificate is gone")
	}
	if got := fmt.Sprint(names(t, cfg.Dir)); got != "[ca-key.pem ca.lock ca.pem]" {
		t.Errorf("left in the directory: %s", got)
	}
}

// Readers without the lock never see half of a rotation.
func TestLoadWhileRotating(t *testing.T) {
	t.Parallel()
	cfg := config(t)
	open(t, cfg)
	done := make(chan struct{})
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if _, err := certs.Load(cfg); err != nil && !errors.Is(err, fs.ErrNotExist) {
					t.Error(err)
					return
				}
			}
		})
	}
	for range 20 {
		if _, err := certs.Rotate(cfg); err != nil {
			t.Error(err)
		}
	}
	close(done)
	readers.Wait()
}

func TestNothingSecretIsPrinted(t *testing.T) {
	t.Parallel()
	cfg := config(t)
	a := open(t, cfg)
	key, err := authorityKey(t, cfg).Bytes()
	if err != nil {
		t.Fatal(err)
	}
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		got := fmt.Sprintf(format, a)
		if strings.Contains(got, fmt.Sprintf("%x", key)) || strings.Contains(got, new(big.Int).SetBytes(key).String()) {
			t.Errorf("%s prints the key", format)
		}
	}
	if bytes.Contains(a.PEM(), []byte("PRIVATE")) || bytes.Contains(a.Bundle(certs.ParseRoots(read(t, filepath.Join(cfg.Dir, "ca-key.pem")))), []byte("PRIVATE")) {
		t.Error("a key in PEM or Bundle")
	}
}
