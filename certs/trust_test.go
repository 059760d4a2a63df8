package certs_test

import (
	"crypto/x509"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/agentproxy/agentproxy/certs"
)

func subjects(list []*x509.Certificate) (names []string) {
	for _, cert := range list {
		names = append(names, cert.Subject.CommonName)
	}
	return names
}

func TestCertificates(t *testing.T) {
	t.Parallel()
	cfg := config(t)
	check := func(wantPresent, wantFormer []string) {
		t.Helper()
		present, former, err := certs.Certificates(cfg.Dir)
		if err != nil {
			t.Fatal(err)
		}
		if got := subjects(present); !slices.Equal(got, wantPresent) {
			t.Errorf("present: %q, want %q", got, wantPresent)
		}
		if got := subjects(former); !slices.Equal(got, wantFormer) {
			t.Errorf("former: %q, want %q", got, wantFormer)
		}
	}
	check(nil, nil)
	first := open(t, cfg).Certificate().Subject.CommonName
	check([]string{first}, nil)
	a, err := certs.Prepare(cfg)
	if err != nil {
		t.Fatal(err)
	}
	second := a.Next().Subject.CommonName
	check([]string{first, second}, nil)
	if _, err := certs.Rotate(cfg); err != nil {
		t.Fatal(err)
	}
	check([]string{second}, []string{first})
	// The key is not needed, nor looked at.
	key := filepath.Join(cfg.Dir, "ca-key.pem")
	if err := os.Remove(key); err != nil {
		t.Fatal(err)
	}
	check([]string{second}, []string{first})

	path := filepath.Join(cfg.Dir, "ca.pem")
	if err := os.WriteFile(path, []byte("broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	want := "read " + path + ": not PEM, or cut short; restore it, or move it away"
	if _, _, err := certs.Certificates(cfg.Dir); err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}

func TestFilesHold(t *testing.T) {
	t.Parallel()
	a, other := open(t, config(t)), open(t, config(t))
	dir := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	missing := filepath.Join(dir, "missing")
	with := file("with", string(root(t, "Root"))+"# a comment\n"+string(a.PEM()))
	without := file("without", string(other.PEM())+strings.ReplaceAll(string(a.PEM()), "CERTIFICATE", "COMMENT"))
	for name, test := range map[string]struct {
		files []string
		want  bool
	}{
		"there":                  {[]string{missing, with}, true},
		"another CA of ours":     {[]string{without}, false},
		"only the first is read": {[]string{without, with}, false},
		"no file":                {[]string{missing}, false},
	} {
		if got := certs.FilesHold(a.Certificate(), test.files); got != test.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}
