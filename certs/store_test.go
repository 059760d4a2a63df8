package certs_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/agentproxy/agentproxy/certs"
)

func encode(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// unchanged is a change of a certificate that is none.
func unchanged(*x509.Certificate) {}

// reissue replaces a CA by one that differs from it by what is changed in the
// certificate to trust and in the issuer.
func reissue(t testing.TB, cfg certs.Config, changeCert, changeIssuer func(*x509.Certificate)) {
	t.Helper()
	a := open(t, cfg)
	rootKey, key := newKey(t), newKey(t)
	root, issuer := *a.Certificate(), *issuer(t, a)
	root.PublicKey, issuer.PublicKey = &rootKey.PublicKey, &key.PublicKey
	changeCert(&root)
	changeIssuer(&issuer)
	var certs [2][]byte
	for i, template := range []*x509.Certificate{&root, &issuer} {
		var err error
		if certs[i], err = x509.CreateCertificate(rand.Reader, template, &root, template.PublicKey, rootKey); err != nil {
			t.Fatal(err)
		}
	}
	write(t, filepath.Join(cfg.Dir, "ca.pem"), encode("CERTIFICATE", certs[0]), 0o644)
	write(t, filepath.Join(cfg.Dir, "ca-key.pem"), append(pkcs8(t, key), encode("CERTIFICATE", certs[1])...), 0o600)
}

// makeEarlier replaces a CA by one as earlier versions made it: the key is that
// of the certificate to trust, which says nothing of extended key usage.
func makeEarlier(t testing.TB, cfg certs.Config) {
	t.Helper()
	key := newKey(t)
	template := *open(t, cfg).Certificate()
	template.PublicKey = &key.PublicKey
	template.ExtKeyUsage, template.MaxPathLen, template.MaxPathLenZero = nil, 0, true
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(cfg.Dir, "ca.pem"), encode("CERTIFICATE", der), 0o644)
	write(t, filepath.Join(cfg.Dir, "ca-key.pem"), pkcs8(t, key), 0o600)
}

// A CA of an earlier version goes on as it is, until it is rotated.
func TestEarlierAuthority(t *testing.T) {
	t.Parallel()
	cfg := config(t)
	makeEarlier(t, cfg)
	before := snapshot(t, cfg.Dir)
	former := open(t, cfg)
	if err := verify(t, former.PEM(), former, "chatgpt.com"); err != nil {
		t.Error(err)
	}
	if n := len(leaf(t, former, "chatgpt.com").Certificate); n != 1 {
		t.Errorf("%d certificates, want the leaf alone", n)
	}
	if former.OnlyServers() {
		t.Error("it is said to be for servers only")
	}
	if after := snapshot(t, cfg.Dir); after != before {
		t.Errorf("the directory changed from\n%s\nto\n%s", before, after)
	}

	both := prepare(t, cfg).PEM()
	next := rotate(t, cfg)
	if !next.OnlyServers() {
		t.Error("after the rotation it is not said to be for servers only")
	}
	for _, a := range []*certs.Authority{former, next} {
		if err := verify(t, both, a, "chatgpt.com"); err != nil {
			t.Error(err)
		}
	}
}

func TestBrokenAuthority(t *testing.T) {
	t.Parallel()
	replaceKey := func(make func(t *testing.T, old []byte) []byte) func(*testing.T, certs.Config) {
		return func(t *testing.T, cfg certs.Config) {
			path := filepath.Join(cfg.Dir, "ca-key.pem")
			write(t, path, make(t, read(t, path)), 0o600)
		}
	}
	replaceCert := func(make func(t *testing.T, cfg certs.Config, old []byte) []byte) func(*testing.T, certs.Config) {
		return func(t *testing.T, cfg certs.Config) {
			path := filepath.Join(cfg.Dir, "ca.pem")
			write(t, path, make(t, cfg, read(t, path)), 0o644)
		}
	}
	variant := func(change func(*x509.Certificate)) func(*testing.T, certs.Config) {
		return func(t *testing.T, cfg certs.Config) { reissue(t, cfg, change, unchanged) }
	}
	issuerVariant := func(change func(*x509.Certificate)) func(*testing.T, certs.Config) {
		return func(t *testing.T, cfg certs.Config) { reissue(t, cfg, unchanged, change) }
	}
	content := func(data string) func(*testing.T, []byte) []byte {
		return func(*testing.T, []byte) []byte { return []byte(data) }
	}
	chmod := func(name string, mode os.FileMode) func(*testing.T, certs.Config) {
		return func(t *testing.T, cfg certs.Config) {
			if err := os.Chmod(filepath.Join(cfg.Dir, name), mode); err != nil {
				t.Fatal(err)
			}
		}
	}
	directory := func(name string) func(*testing.T, certs.Config) {
		return func(t *testing.T, cfg certs.Config) {
			path := filepath.Join(cfg.Dir, name)
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			if err := os.Mkdir(path, 0o700); err != nil {
				t.Fatal(err)
			}
		}
	}
	const binary = "\x00\xff\x7fELF\x02\x01\n\x80"
	const rotate = "agentproxy ca rotate"
	for name, test := range map[string]struct {
		damage func(*testing.T, certs.Config)
		file   string // that the error names, in the directory
		want   string // what is wrong
		remedy string
	}{
		"key wide":       {chmod("ca-key.pem", 0o644), "ca-key.pem", "permissions 0644 are too wide", "run: chmod 600 "},
		"key group":      {chmod("ca-key.pem", 0o640), "ca-key.pem", "permissions 0640 are too wide", "run: chmod 600 "},
		"cert writable":  {chmod("ca.pem", 0o666), "ca.pem", "permissions 0666 are too wide", "run: chmod 644 "},
		"dir writable":   {chmod("", 0o770), "", "permissions 0770 are too wide", "run: chmod go-w "},
		"key missing":    {func(t *testing.T, cfg certs.Config) { os.Remove(filepath.Join(cfg.Dir, "ca-key.pem")) }, "ca-key.pem", "no such file", rotate},
		"key directory":  {directory("ca-key.pem"), "ca-key.pem", "not a regular file", rotate},
		"key empty":      {replaceKey(content("")), "ca-key.pem", "empty file", rotate},
		"key binary":     {replaceKey(content(binary)), "ca-key.pem", "not PEM", rotate},
		"key truncated":  {replaceKey(func(_ *testing.T, old []byte) []byte { return old[:len(old)/2] }), "ca-key.pem", "cut short", rotate},
		"key not a key":  {replaceKey(func(_ *testing.T, old []byte) []byte { return encode("CERTIFICATE", nil) }), "ca-key.pem", `PEM block "CERTIFICATE"`, rotate},
		"key bad DER":    {replaceKey(func(_ *testing.T, old []byte) []byte { return encode("PRIVATE KEY", []byte(binary)) }), "ca-key.pem", "malformed private key", rotate},
		"key twice":      {replaceKey(func(_ *testing.T, old []byte) []byte { return append(old, old...) }), "ca-key.pem", "more than one", rotate},
		"key RSA":        {replaceKey(rsaKey), "ca-key.pem", "not an ECDSA P-256 key", rotate},
		"key P-384":      {replaceKey(p384Key), "ca-key.pem", "not an ECDSA P-256 key", rotate},
		"key of another": {replaceKey(p256Key), "ca-key.pem", "not the key of ", rotate},

		"cert directory":      {directory("ca.pem"), "ca.pem", "not a regular file", rotate},
		"cert empty":          {replaceCert(func(*testing.T, certs.Config, []byte) []byte { return nil }), "ca.pem", "empty file", rotate},
		"cert binary":         {replaceCert(func(*testing.T, certs.Config, []byte) []byte { return []byte(binary) }), "ca.pem", "not PEM", rotate},
		"cert truncated":      {replaceCert(func(_ *testing.T, _ certs.Config, old []byte) []byte { return old[:len(old)-30] }), "ca.pem", "cut short", rotate},
		"cert is a key":       {replaceCert(func(*testing.T, certs.Config, []byte) []byte { return encode("PRIVATE KEY", nil) }), "ca.pem", `PEM block "PRIVATE KEY"`, rotate},
		"cert bad DER":        {replaceCert(func(*testing.T, certs.Config, []byte) []byte { return encode("CERTIFICATE", []byte(binary)) }), "ca.pem", "malformed certificate", rotate},
		"cert and more":       {replaceCert(func(_ *testing.T, _ certs.Config, old []byte) []byte { return append(old, binary...) }), "ca.pem", "more than one", rotate},
		"cert not a CA":       {variant(func(c *x509.Certificate) { c.IsCA, c.MaxPathLen, c.PermittedDNSDomains = false, -1, nil }), "ca.pem", "not the certificate of a CA", rotate},
		"cert cannot sign":    {variant(func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageDigitalSignature }), "ca.pem", "key usage", rotate},
		"cert expired":        {variant(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }), "ca.pem", "expired on", rotate},
		"cert from tomorrow":  {variant(func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Hour) }), "ca.pem", "not valid before", "clock"},
		"cert unconstrained":  {variant(func(c *x509.Certificate) { c.PermittedDNSDomains = nil }), "ca.pem", "no critical name constraints", rotate},
		"cert not critical":   {variant(func(c *x509.Certificate) { c.PermittedDNSDomainsCritical = false }), "ca.pem", "no critical name constraints", rotate},
		"cert of addresses":   {variant(func(c *x509.Certificate) { c.ExcludedIPRanges = c.ExcludedIPRanges[:1] }), "ca.pem", "do not exclude all addresses", rotate},
		"cert of other hosts": {variant(func(c *x509.Certificate) { c.PermittedDNSDomains = []string{"chatgpt.com"} }), "ca.pem", "(chatgpt.com) do not cover chat.openai.com", rotate},

		"issuer not a CA":       {issuerVariant(func(c *x509.Certificate) { c.IsCA, c.MaxPathLenZero, c.PermittedDNSDomains = false, false, nil }), "ca-key.pem", "not the certificate of a CA", rotate},
		"issuer cannot sign":    {issuerVariant(func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageDigitalSignature }), "ca-key.pem", "key usage", rotate},
		"issuer expired":        {issuerVariant(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }), "ca-key.pem", "expired on", rotate},
		"issuer unconstrained":  {issuerVariant(func(c *x509.Certificate) { c.PermittedDNSDomains = nil }), "ca-key.pem", "no critical name constraints", rotate},
		"issuer of other hosts": {issuerVariant(func(c *x509.Certificate) { c.PermittedDNSDomains = []string{"chatgpt.com"} }), "ca-key.pem", "(chatgpt.com) do not cover chat.openai.com", rotate},
		"issuer of another CA": {func(t *testing.T, cfg certs.Config) {
			path := filepath.Join(cfg.Dir, "ca.pem")
			trusted := read(t, path)
			reissue(t, cfg, unchanged, unchanged)
			write(t, path, trusted, 0o644)
		}, "ca-key.pem", "not the key of ", rotate},
		"issuer with another key": {replaceKey(func(t *testing.T, old []byte) []byte {
			_, issuer := pem.Decode(old)
			return append(p256Key(t, nil), issuer...)
		}), "ca-key.pem", "not the key of ", rotate},
		"issuer truncated": {replaceKey(func(_ *testing.T, old []byte) []byte { return old[:len(old)-30] }), "ca-key.pem", "cut short", rotate},
		"issuer missing": {replaceKey(func(_ *testing.T, old []byte) []byte {
			key, _ := pem.Decode(old)
			return pem.EncodeToMemory(key)
		}), "ca-key.pem", "not the key of ", rotate},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := config(t)
			open(t, cfg)
			test.damage(t, cfg)
			before := snapshot(t, cfg.Dir)
			for verb, do := range map[string]func(certs.Config) (*certs.Authority, error){"Open": certs.Open, "Load": certs.Load} {
				_, err := do(cfg)
				if err == nil {
					t.Fatalf("%s took it", verb)
				}
				got := err.Error()
				named := strings.HasPrefix(got, "read "+filepath.Join(cfg.Dir, test.file)+": ")
				if !named || !strings.Contains(got, test.want) || !strings.Contains(got, test.remedy) || strings.Contains(got, "\n") {
					t.Errorf("%s: %q\nwant one line with the file, %q and %q", verb, got, test.want, test.remedy)
				}
			}
			if after := snapshot(t, cfg.Dir); after != before {
				t.Errorf("the directory changed from\n%s\nto\n%s", before, after)
			}
			if test.remedy == rotate && test.file != "" && !strings.HasSuffix(name, "key directory") {
				if _, err := certs.Rotate(cfg); err != nil {
					t.Errorf("the remedy does not help: %v", err)
				}
			}
		})
	}
}

// snapshot is the names and contents of the files in dir.
func snapshot(t testing.TB, dir string) string {
	t.Helper()
	var b strings.Builder
	for _, name := range names(t, dir) {
		data, _ := os.ReadFile(filepath.Join(dir, name))
		fmt.Fprintf(&b, "%s %q\n", name, data)
	}
	return b.String()
}

func pkcs8(t testing.TB, key any) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return encode("PRIVATE KEY", der)
}

func rsaKey(t *testing.T, _ []byte) []byte {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return pkcs8(t, key)
}

func p384Key(t *testing.T, _ []byte) []byte { return ecKey(t, elliptic.P384()) }
func p256Key(t *testing.T, _ []byte) []byte { return ecKey(t, elliptic.P256()) }

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func ecKey(t *testing.T, curve elliptic.Curve) []byte {
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return pkcs8(t, key)
}

func TestKeyInSEC1(t *testing.T) {
	t.Parallel()
	cfg := config(t)
	a := open(t, cfg)
	path := filepath.Join(cfg.Dir, "ca-key.pem")
	der, err := x509.MarshalECPrivateKey(authorityKey(t, cfg))
	if err != nil {
		t.Fatal(err)
	}
	_, issuer := pem.Decode(read(t, path))
	write(t, path, append(encode("EC PRIVATE KEY", der), issuer...), 0o400)
	if open(t, cfg).Fingerprint() != a.Fingerprint() {
		t.Error("another CA")
	}
}

func TestUnusableDirectory(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	write(t, file, nil, 0o600)
	for _, dir := range []string{file, filepath.Join(file, "ca")} {
		for verb, do := range map[string]func(certs.Config) (*certs.Authority, error){"Open": certs.Open, "Rotate": certs.Rotate} {
			_, err := do(certs.Config{Dir: dir, Hosts: hosts})
			if err == nil || !strings.Contains(err.Error(), file) || !strings.Contains(err.Error(), "not a directory; ") {
				t.Errorf("%s in %s: error %v", verb, dir, err)
			}
		}
	}
}

// Whoever is killed while making a CA leaves a key without certificate, or
// temporary files. Nothing was issued with such a key.
func TestKilledWhileWriting(t *testing.T) {
	t.Parallel()
	cfg := config(t)
	if err := os.Mkdir(cfg.Dir, 0o700); err != nil {
		t.Fatal(err)
	}
	orphan := p256Key(t, nil)
	write(t, filepath.Join(cfg.Dir, "ca-key.pem"), orphan, 0o644)
	write(t, filepath.Join(cfg.Dir, ".ca-key.pem123456"), orphan, 0o600)
	write(t, filepath.Join(cfg.Dir, ".ca.pem123456"), orphan[:10], 0o600)
	a := open(t, cfg)
	if _, err := a.Leaf("chatgpt.com"); err != nil {
		t.Error(err)
	}
	if got := fmt.Sprint(names(t, cfg.Dir)); got != "[ca-key.pem ca.lock ca.pem]" {
		t.Errorf("left in the directory: %s", got)
	}
	if bytes.Equal(read(t, filepath.Join(cfg.Dir, "ca-key.pem")), orphan) {
		t.Error("the orphan's key is in use")
	}
	if info, err := os.Stat(filepath.Join(cfg.Dir, "ca-key.pem")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the new key has the permissions of the orphan: %v, %v", info.Mode(), err)
	}
}

func TestOpenAtOnce(t *testing.T) {
	t.Parallel()
	cfg := config(t)
	var wg sync.WaitGroup
	prints := make([]string, 8)
	for i := range prints {
		wg.Go(func() {
			a, err := certs.Open(cfg)
			if err != nil {
				t.Error(err)
				return
			}
			prints[i] = a.Fingerprint()
		})
	}
	wg.Wait()
	for _, print := range prints {
		if print != prints[0] {
			t.Errorf("several CAs: %q", prints)
		}
	}
}
